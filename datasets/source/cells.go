package source

import (
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"github.com/gojet/gojet/datasets/chat"
)

// leaf is a column that the documents are made from.
type leaf struct {
	index  int // among the columns of the file
	column *schema.Column
	// entry is the definition level from which on a list has an element here; 0 outside lists.
	entry int16
}

// findLeaves finds the first of the fields that the file has, and its columns.
func findLeaves(s *schema.Schema, fields []field) (field, []leaf, error) {
	for _, f := range fields {
		if i := s.Root().FieldIndexByName(f.name); i >= 0 {
			leaves, err := leavesOf(s, s.Root().Field(i), f.kind)
			if err != nil {
				err = fmt.Errorf("column %q: %w, want %v", f.name, err, f.kind)
			}
			return f, leaves, err
		}
	}
	var names []string
	for i := range min(s.Root().NumFields(), 20) {
		names = append(names, clip(s.Root().Field(i).Name()))
	}
	return field{}, nil, fmt.Errorf("has no column %s, found %q", fieldNames(fields), names)
}

// leavesOf checks that the column holds what is wanted.
func leavesOf(s *schema.Schema, n schema.Node, kind kind) ([]leaf, error) {
	switch kind {
	case isText:
		l, err := newLeaf(s, n, 0)
		if err != nil {
			return nil, err
		}
		return []leaf{l}, l.isString()
	case isTokens:
		for {
			g, ok := n.(*schema.GroupNode)
			if !ok {
				break
			}
			if g.NumFields() != 1 {
				return nil, fmt.Errorf("is a group of %d columns", g.NumFields())
			}
			n = g.Field(0)
		}
		l, err := newLeaf(s, n, 1)
		if t := n.(*schema.PrimitiveNode).PhysicalType(); err == nil && t != parquet.Types.Int32 && t != parquet.Types.Int64 {
			err = fmt.Errorf("is a list of %v", t)
		}
		return []leaf{l}, err
	}
	g, ok := n.(*schema.GroupNode)
	for ok && g.FieldIndexByName("role") < 0 && g.NumFields() == 1 {
		g, ok = g.Field(0).(*schema.GroupNode)
	}
	if !ok {
		return nil, errors.New("is no list of structures")
	}
	var leaves []leaf
	for _, name := range []string{"role", "content"} {
		i := g.FieldIndexByName(name)
		if i < 0 {
			return nil, fmt.Errorf("has no %q", name)
		}
		l, err := newLeaf(s, g.Field(i), 1)
		if err == nil {
			err = l.isString()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		leaves = append(leaves, l)
	}
	return leaves, nil
}

// newLeaf makes a leaf of a node that must be a column in so many lists.
func newLeaf(s *schema.Schema, n schema.Node, lists int16) (leaf, error) {
	if _, ok := n.(*schema.PrimitiveNode); !ok {
		return leaf{}, errors.New("is a group of columns")
	}
	l := leaf{index: s.ColumnIndexByNode(n)}
	if l.index < 0 {
		return leaf{}, errors.New("is not among the columns")
	}
	l.column = s.Column(l.index)
	if found := l.column.MaxRepetitionLevel(); found != lists {
		return leaf{}, fmt.Errorf("is within %d lists, not %d", found, lists)
	}
	// From the inside out: what is optional below the list has levels of its own.
	l.entry = l.column.MaxDefinitionLevel()
	for at := n; lists > 0 && at.RepetitionType() != parquet.Repetitions.Repeated; at = at.Parent() {
		if at.RepetitionType() == parquet.Repetitions.Optional {
			l.entry--
		}
	}
	return l, nil
}

// isString tells what a column is that holds no strings.
func (l leaf) isString() error {
	if t := l.column.PhysicalType(); t != parquet.Types.ByteArray {
		return fmt.Errorf("is of type %v", t)
	}
	switch t := l.column.ConvertedType(); t {
	case schema.ConvertedTypes.None, schema.ConvertedTypes.UTF8, schema.ConvertedTypes.JSON, schema.ConvertedTypes.Enum:
		return nil
	default:
		return fmt.Errorf("is of type %v", t)
	}
}

// batch is how many values are decoded at once. Strings stay where they are in the page until they are taken.
const batch = 256

// cells hands out one column chunk value by value.
type cells struct {
	column   *schema.Column
	pages    *pager
	read     func() (levels int64, values int, err error)
	def, rep [batch]int16
	bytes    [batch]parquet.ByteArray
	int32s   [batch]int32
	int64s   [batch]int64
	at, n    int // position among the levels
	value    int // position among the values
	values   int
}

func newCells(column *schema.Column, pages *pager) *cells {
	c := &cells{column: column, pages: pages}
	switch r := file.NewColumnReader(column, pages, memory.DefaultAllocator, nil).(type) {
	case *file.ByteArrayColumnChunkReader:
		c.read = func() (int64, int, error) { return r.ReadBatch(batch, c.bytes[:], c.def[:], c.rep[:]) }
	case *file.Int32ColumnChunkReader:
		c.read = func() (int64, int, error) { return r.ReadBatch(batch, c.int32s[:], c.def[:], c.rep[:]) }
	case *file.Int64ColumnChunkReader:
		c.read = func() (int64, int, error) { return r.ReadBatch(batch, c.int64s[:], c.def[:], c.rep[:]) }
	}
	return c
}

// more tells whether there is another level, and reads on if need be.
func (c *cells) more() (bool, error) {
	if c.at < c.n {
		return true, nil
	}
	levels, values, err := c.read()
	if c.pages.err != nil {
		return false, c.pages.err
	}
	if err != nil {
		return false, fmt.Errorf("column %q, page %d: %w", c.column.Path(), c.pages.pages-1, err)
	}
	c.at, c.n, c.value, c.values = 0, int(levels), 0, values
	return c.n > 0, nil
}

// need is more for a place where there must be one.
func (c *cells) need() error {
	more, err := c.more()
	if err == nil && !more {
		err = fmt.Errorf("column %q ends before this row", c.column.Path())
	}
	return err
}

// null tells whether the value at the position is null. If it is the position moves on.
func (c *cells) null() bool {
	if most := c.column.MaxDefinitionLevel(); most == 0 || c.def[c.at] == most {
		return false
	}
	c.at++
	return true
}

// take moves past the value at the position and returns its index.
func (c *cells) take() (int, error) {
	if c.value >= c.values {
		return 0, fmt.Errorf("column %q: the page has fewer values than levels", c.column.Path())
	}
	c.at++
	c.value++
	return c.value - 1, nil
}

// text takes a string.
func (c *cells) text(most int64) (string, error) {
	i, err := c.take()
	if err != nil {
		return "", err
	}
	b := c.bytes[i]
	if int64(len(b)) > most {
		return "", fmt.Errorf("column %q has %d bytes, want at most %d (max_bytes)", c.column.Path(), len(b), most)
	}
	if err := checkUTF8(b); err != nil {
		return "", fmt.Errorf("column %q: %w", c.column.Path(), err)
	}
	return string(b), nil
}

// id takes a token id.
func (c *cells) id() (int32, error) {
	i, err := c.take()
	if err != nil {
		return 0, err
	}
	id := int64(c.int32s[i])
	if c.column.PhysicalType() == parquet.Types.Int64 {
		id = c.int64s[i]
	}
	if id < 0 || id > math.MaxInt32 {
		return 0, fmt.Errorf("column %q: found %d, want a token id from 0 to %d", c.column.Path(), id, math.MaxInt32)
	}
	return int32(id), nil
}

// list walks the elements of a list in one row; element takes one. A list that is null is an error, one without
// elements has one level that says so.
func (c *cells) list(entry int16, element func(i int) error) error {
	for i := 0; ; i++ {
		more, err := c.more()
		if err != nil {
			return err
		}
		switch {
		case i == 0 && !more:
			return fmt.Errorf("column %q ends before this row", c.column.Path())
		case i == 0 && c.rep[c.at] != 0:
			return fmt.Errorf("column %q: the row begins inside a list", c.column.Path())
		case i > 0 && (!more || c.rep[c.at] == 0):
			return nil
		case c.def[c.at] < entry && i > 0:
			return fmt.Errorf("column %q: element %d of the list is none", c.column.Path(), i)
		case c.def[c.at] < entry-1:
			return fmt.Errorf("column %q is null, want a list", c.column.Path())
		case c.def[c.at] < entry:
			c.at++
			if more, err := c.more(); err != nil || !more || c.rep[c.at] == 0 {
				return err
			}
			return fmt.Errorf("column %q: an empty list goes on", c.column.Path())
		}
		if err := element(i); err != nil {
			return err
		}
	}
}

// perElement is what an element of a list counts against Spec.MaxBytes besides its text.
const perElement = 64

// messages reads the list of one row, column by column.
func (r *rows) messages() ([]chat.Message, error) {
	var roles []string
	var all []chat.Message
	left := r.spec.maxBytes()
	text := func(c *cells, i int, what string) (string, error) {
		if c.null() {
			return "", fmt.Errorf("message %d has no %s", i, what)
		}
		s, err := c.text(left)
		if left -= int64(len(s)) + perElement; err == nil && left < 0 {
			err = fmt.Errorf("has more than %d bytes of messages (max_bytes)", r.spec.maxBytes())
		}
		return s, err
	}
	role, content := r.cells[0], r.cells[1]
	err := role.list(r.leaves[0].entry, func(i int) error {
		s, err := text(role, i, "role")
		roles = append(roles, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = content.list(r.leaves[1].entry, func(i int) error {
		s, err := text(content, i, "content")
		if err == nil && i >= len(roles) {
			err = fmt.Errorf("message %d has content and no role", i)
		}
		if err == nil {
			all = append(all, chat.Message{Role: roles[i], Content: s})
		}
		return err
	})
	if err == nil && len(all) != len(roles) {
		err = fmt.Errorf("%d roles and %d contents", len(roles), len(all))
	}
	return all, err
}

func (r *rows) tokens() ([]int32, error) {
	var ids []int32
	c := r.cells[0]
	err := c.list(r.leaves[0].entry, func(i int) error {
		if c.null() {
			return fmt.Errorf("column %q: element %d is null, want a token id", r.field.name, i)
		}
		id, err := c.id()
		ids = append(ids, id)
		if err == nil && int64(len(ids))*4 > r.spec.maxBytes() {
			err = fmt.Errorf("column %q has more than %d bytes of tokens (max_bytes)", r.field.name, r.spec.maxBytes())
		}
		return err
	})
	return ids, err
}

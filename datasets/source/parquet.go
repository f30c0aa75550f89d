package source

import (
	"fmt"
	"io"
)

// rows reads a Parquet file row group by row group, and of each only the columns of the document, a page at a time.
type rows struct {
	file   *ParquetFile
	spec   Spec
	field  field
	leaves []leaf
	group  int // the row group to be opened next
	cells  []*cells
	left   int64 // rows of the open row group not yet read
	row    int64 // rows read of the file
}

func openParquet(f File) (Reader, error) {
	in, err := OpenParquet(f.Path, f.spec.maxBytes())
	if err != nil {
		return nil, err
	}
	r := &rows{file: in, spec: f.spec}
	if err := rescue(r.open); err != nil {
		in.Close()
		return nil, err
	}
	return r, nil
}

func (r *rows) Close() error { return r.file.Close() }

// open finds the document's columns and checks what the footer says of them.
func (r *rows) open() (err error) {
	if r.field, r.leaves, err = findLeaves(r.file.meta.Schema, r.spec.fields()); err != nil {
		return err
	}
	columns := make([]int, len(r.leaves))
	for i, l := range r.leaves {
		columns[i] = l.index
	}
	return r.file.check(columns)
}

// Next reads a row.
func (r *rows) Next() (d Document, err error) {
	err = rescue(func() error {
		d, err = r.next()
		return err
	})
	return d, err
}

func (r *rows) next() (Document, error) {
	for r.left == 0 {
		if err := r.endGroup(); err != nil {
			return Document{}, err
		}
		if r.group == r.file.Groups() {
			return Document{}, io.EOF
		}
		if err := r.openGroup(); err != nil {
			return Document{}, fmt.Errorf("row group %d: %w", r.group, err)
		}
		r.group++
	}
	d, err := r.document()
	if err != nil {
		return Document{}, fmt.Errorf("row %d (row group %d): %w", r.row, r.group-1, err)
	}
	r.row++
	r.left--
	return d, nil
}

// endGroup sees to it that the row group that was read has nothing left.
func (r *rows) endGroup() error {
	for i, c := range r.cells {
		if more, err := c.more(); err != nil {
			return fmt.Errorf("row group %d: %w", r.group-1, err)
		} else if more {
			return fmt.Errorf("row group %d, column %q: has more rows than the footer says", r.group-1, r.leaves[i].column.Path())
		}
	}
	r.cells = nil
	return nil
}

func (r *rows) openGroup() error {
	for _, l := range r.leaves {
		pages, err := r.file.pages(r.group, l.index)
		if err != nil {
			return err
		}
		r.cells = append(r.cells, newCells(l.column, pages))
	}
	r.left = r.file.Rows(r.group)
	return nil
}

func (r *rows) document() (Document, error) {
	switch r.field.kind {
	case isMessages:
		m, err := r.messages()
		return Document{Messages: m}, err
	case isTokens:
		ids, err := r.tokens()
		return Document{Tokens: ids}, err
	}
	c := r.cells[0]
	if err := c.need(); err != nil {
		return Document{}, err
	}
	if c.null() {
		return Document{}, fmt.Errorf("column %q is null, want a string", r.field.name)
	}
	text, err := c.text(r.spec.maxBytes())
	return Document{Text: text}, err
}

package schema

import (
	"reflect"
	"slices"
	"strings"
)

// field is a field of a struct by its key in YAML.
type field struct {
	key   string
	index []int
	typ   reflect.Type
}

// fields lists what a struct has in YAML: its exported fields, but for those tagged "-"; the fields of one tagged inline
// are among them.
func fields(t reflect.Type) []field {
	var list []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || key == "-" {
			continue
		}
		if options == "inline" {
			for _, inner := range fields(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				list = append(list, inner)
			}
			continue
		}
		if key == "" {
			key = strings.ToLower(f.Name)
		}
		list = append(list, field{key, []int{i}, f.Type})
	}
	return list
}

func keys(t reflect.Type) []string {
	var list []string
	for _, f := range fields(t) {
		list = append(list, f.key)
	}
	return list
}

func findField(t reflect.Type, key string) (field, bool) {
	list := fields(t)
	i := slices.IndexFunc(list, func(f field) bool { return f.key == key })
	if i < 0 {
		return field{}, false
	}
	return list[i], true
}

// typeAt follows a path of keys, names and indices from t.
func typeAt(t reflect.Type, path []string) (reflect.Type, bool) {
	for _, seg := range path {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Struct:
			f, ok := findField(t, seg)
			if !ok {
				return nil, false
			}
			t = f.typ
		case reflect.Slice, reflect.Map:
			t = t.Elem()
		case reflect.Interface:
		default:
			return nil, false
		}
	}
	return t, true
}

// paths lists the keys of t and below, "NAME" standing for a name or an index.
func paths(t reflect.Type, prefix string) []string {
	switch t.Kind() {
	case reflect.Pointer:
		return paths(t.Elem(), prefix)
	case reflect.Slice, reflect.Map:
		if e := t.Elem().Kind(); e == reflect.Struct || e == reflect.Pointer {
			return paths(t.Elem(), prefix+"NAME.")
		}
	case reflect.Struct:
		var list []string
		for _, f := range fields(t) {
			list = append(list, prefix+f.key)
			list = append(list, paths(f.typ, prefix+f.key+".")...)
		}
		return list
	}
	return nil
}

// unknown says that a key of the struct t, which lies at path below top, does not exist, and which ones do: first those
// that may have been meant.
func unknown(top, t reflect.Type, path []string, key string) string {
	near := Nearest(key, keys(t))
	if near == nil {
		for _, p := range paths(top, "") {
			if strings.HasSuffix(p, "."+key) {
				near = append(near, p)
			}
		}
		near = near[:min(len(near), 3)]
	}
	text := join(append(slices.Clone(path), clip(key))...) + " is unknown"
	if near != nil {
		text += ", did you mean " + strings.Join(near, " or ") + "?"
	}
	all := slices.DeleteFunc(keys(t), func(k string) bool { return slices.Contains(near, k) })
	return text + " Allowed: " + strings.Join(append(slices.DeleteFunc(slices.Clone(near), func(n string) bool { return strings.Contains(n, ".") }), all...), ", ")
}

func join(path ...string) string { return strings.Join(path, ".") }

// Nearest returns the names most like what was written, the likest first, nil where none is like it.
func Nearest(written string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	if len(written) > 60 {
		return nil
	}
	for _, n := range names {
		d := distance(strings.ToLower(written), n)
		if d <= max(1, min(len(written), len(n))/3) || len(written) > 2 && strings.HasPrefix(n, strings.ToLower(written)) {
			found = append(found, candidate{n, d})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return a.distance - b.distance })
	var near []string
	for _, c := range found[:min(len(found), 2)] {
		near = append(near, c.name)
	}
	return near
}

// distance counts the letters to insert, delete, replace or swap with their neighbour to turn a into b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

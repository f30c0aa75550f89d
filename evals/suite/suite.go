package suite

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

//go:embed *.yaml
var own embed.FS

// Suite is all tasks, groups and tags that are known by name.
type Suite struct {
	tasks  map[string]*Task
	groups map[string]*Group
	tags   map[string][]string
}

// Open reads the tasks that come with gojet and those in folders, all .yaml files below them. Names in a later folder
// stand for what they are there. Files whose names begin with _ are only included by others.
func Open(folders ...string) (*Suite, error) {
	s := &Suite{tasks: map[string]*Task{}, groups: map[string]*Group{}, tags: map[string][]string{}}
	if err := s.add(own, "suite"); err != nil {
		return nil, err
	}
	for _, folder := range folders {
		if info, err := os.Stat(folder); err != nil {
			return nil, fmt.Errorf("suite: %w", err)
		} else if !info.IsDir() {
			return nil, fmt.Errorf("suite: %s is no folder", folder)
		}
		if err := s.add(os.DirFS(folder), folder); err != nil {
			return nil, err
		}
	}
	for name, t := range s.tasks {
		for _, tag := range t.Tags {
			s.tags[tag] = append(s.tags[tag], name)
		}
	}
	for tag := range s.tags {
		slices.Sort(s.tags[tag])
	}
	return s, nil
}

func (s *Suite) add(files fs.FS, root string) error {
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("suite: %w", err)
		}
		base := path.Base(name)
		if d.IsDir() || !strings.HasSuffix(base, ".yaml") && !strings.HasSuffix(base, ".yml") || strings.HasPrefix(base, "_") && !isGroup(files, name) {
			return nil
		}
		if err := s.file(files, name, path.Join(root, name)); err != nil {
			return fmt.Errorf("suite: %s: %w", path.Join(root, name), err)
		}
		return nil
	})
}

// isGroup tells whether a file begins as those of lm-evaluation-harness do that hold a group, whose names begin with _ as well.
func isGroup(files fs.FS, name string) bool {
	data, err := fs.ReadFile(files, name)
	return err == nil && (strings.HasPrefix(string(data), "group:") || strings.Contains(string(data), "\ngroup:"))
}

// file adds what a file holds: a group, a task, or several.
func (s *Suite) file(files fs.FS, name, where string) error {
	all, err := read(files, name, 0)
	if err != nil {
		return err
	}
	if _, ok := all["group"]; ok {
		g := &Group{}
		if err := decode(all, g); err != nil {
			return err
		}
		s.groups[g.Name] = g
		return g.validate()
	}
	variants := all["tasks"]
	if variants == nil {
		return s.task(all, where)
	}
	delete(all, "tasks")
	for _, n := range variants.Content {
		m, err := mapping(n)
		if err != nil {
			return fmt.Errorf("tasks: %w", err)
		}
		one := maps.Clone(all)
		maps.Copy(one, m)
		if err := s.task(one, where); err != nil {
			return fmt.Errorf("tasks: line %d: %w", n.Line, err)
		}
	}
	return nil
}

func (s *Suite) task(all keys, where string) error {
	t := &Task{Path: where}
	if err := decode(all, t); err != nil {
		return err
	}
	s.tasks[t.Name] = t
	return t.Validate()
}

// Tasks lists the names of all tasks, Groups those of all groups, and Tags those of all tags.
func (s *Suite) Tasks() []string  { return slices.Sorted(maps.Keys(s.tasks)) }
func (s *Suite) Groups() []string { return slices.Sorted(maps.Keys(s.groups)) }
func (s *Suite) Tags() []string   { return slices.Sorted(maps.Keys(s.tags)) }

// Task returns the task of that name, nil if there is none.
func (s *Suite) Task(name string) *Task { return s.tasks[name] }

// Selection is what a list of names stands for.
type Selection struct {
	Tasks  []*Task
	Groups []Selected // every group before those in it
}

// Selected is a group with its members: Children are its tasks and groups by name, Leaves all tasks in it.
type Selected struct {
	*Group
	Children, Leaves []string
}

// Select finds the tasks of names, of which each is a task, a group, a tag, or a pattern with * and ?. No task comes twice.
func (s *Suite) Select(names []string) (Selection, error) {
	var sel Selection
	for _, name := range names {
		found, err := s.expand(name)
		if err != nil {
			return sel, err
		}
		for _, f := range found {
			if _, err := s.pick(&sel, f, nil); err != nil {
				return sel, err
			}
		}
	}
	if len(sel.Tasks) == 0 {
		return sel, errors.New("suite: no task is named")
	}
	return sel, nil
}

// expand lists what a pattern stands for.
func (s *Suite) expand(name string) ([]string, error) {
	if !strings.ContainsAny(name, "*?[") {
		return []string{name}, nil
	}
	var found []string
	for _, candidate := range slices.Concat(s.Groups(), s.Tasks()) {
		ok, err := path.Match(name, candidate)
		if err != nil {
			return nil, fmt.Errorf("suite: pattern %q: %w", name, err)
		}
		if ok {
			found = append(found, candidate)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("suite: no task is called as %q says (gojet eval --list lists them)", name)
	}
	return found, nil
}

// pick adds what a name stands for, and returns the names of it that count as children of a group.
func (s *Suite) pick(sel *Selection, name string, within []string) ([]string, error) {
	if slices.Contains(within, name) {
		return nil, fmt.Errorf("suite: group %s contains itself", name)
	}
	if g, ok := s.groups[name]; ok {
		if slices.ContainsFunc(sel.Groups, func(have Selected) bool { return have.Name == name }) {
			return []string{name}, nil
		}
		at := len(sel.Groups)
		sel.Groups = append(sel.Groups, Selected{Group: g})
		for _, member := range g.Members {
			children, err := s.pick(sel, member, append(within, name))
			if err != nil {
				return nil, fmt.Errorf("%w (in group %s)", err, name)
			}
			sel.Groups[at].Children = append(sel.Groups[at].Children, children...)
		}
		for _, child := range sel.Groups[at].Children {
			sel.Groups[at].Leaves = append(sel.Groups[at].Leaves, sel.leaves(child)...)
		}
		return []string{name}, nil
	}
	if t, ok := s.tasks[name]; ok {
		if !slices.Contains(sel.Tasks, t) {
			sel.Tasks = append(sel.Tasks, t)
		}
		return []string{name}, nil
	}
	if tagged, ok := s.tags[name]; ok {
		for _, t := range tagged {
			if _, err := s.pick(sel, t, within); err != nil {
				return nil, err
			}
		}
		return tagged, nil
	}
	return nil, fmt.Errorf("suite: there is no task, group or tag %q%s", name, s.similar(name))
}

// leaves are the tasks of a group that was picked, or the task itself.
func (sel *Selection) leaves(name string) []string {
	for _, g := range sel.Groups {
		if g.Name == name {
			return g.Leaves
		}
	}
	return []string{name}
}

// similar words which names are like one that is not there.
func (s *Suite) similar(name string) string {
	var near []string
	for _, candidate := range slices.Concat(s.Groups(), s.Tags(), s.Tasks()) {
		if strings.Contains(candidate, name) || strings.HasPrefix(candidate, name[:min(len(name), 4)]) {
			near = append(near, candidate)
		}
	}
	if len(near) == 0 {
		return " (gojet eval --list lists them)"
	}
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	return fmt.Sprintf(": did you mean %s?", strings.Join(near[:min(5, len(near))], ", "))
}

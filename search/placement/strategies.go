package placement

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/gojet/gojet/search"
)

// beam adds layers of full attention one by one to the model without any, and then windows, going on with the best few.
func (s *seeker) beam(ctx context.Context) ([]Ranked, error) {
	front, err := s.rank(ctx, []search.Placement{search.Uniform(s.layers, search.Linear)}, s.Objectives)
	if err != nil {
		return nil, err
	}
	s.out.ByFull = append(s.out.ByFull, front[0])
	for range s.Full {
		if front, err = s.extend(ctx, front, search.Full, s.Objectives); err != nil {
			return nil, err
		}
		s.out.ByFull = append(s.out.ByFull, front[0])
	}
	for range s.Window {
		if front, err = s.extend(ctx, front, search.Window, s.WindowObjectives); err != nil {
			return nil, err
		}
	}
	return s.rank(ctx, placements(front), s.Objectives)
}

func placements(rs []Ranked) []search.Placement {
	ps := make([]search.Placement, len(rs))
	for i, r := range rs {
		ps[i] = r.Placement
	}
	return ps
}

// extend adds one layer of a kind to each of the front, and keeps the best Width by every objective and what no other
// beats in all of them, as far as there is room for as many again.
func (s *seeker) extend(ctx context.Context, front []Ranked, k search.Kind, by []search.Objective) ([]Ranked, error) {
	seen := map[string]bool{}
	var next []search.Placement
	for _, r := range front {
		for _, i := range s.branches(r.Placement, by[0]) {
			if p := r.Placement.With(i, k); !seen[p.String()] {
				seen[p.String()] = true
				next = append(next, p)
			}
		}
	}
	first := k == search.Full && front[0].Placement.Count(search.Full) == 0
	sorted, err := s.rank(ctx, next, by)
	if err != nil {
		return nil, err
	}
	if first {
		if s.out.Single, err = s.measure(ctx, next); err != nil {
			return nil, err
		}
	}
	if len(by) == 1 {
		return sorted[:min(s.Width, len(sorted))], nil
	}
	kept := map[string]bool{}
	for _, o := range by {
		own := slices.Clone(sorted)
		slices.SortStableFunc(own, func(a, b Ranked) int { return compare(a, b, []search.Objective{o}) })
		for _, r := range own[:min(s.Width, len(own))] {
			kept[r.Layers] = true
		}
	}
	for _, r := range pareto(sorted, by) {
		if len(kept) < 2*s.Width*len(by) {
			kept[r.Layers] = true
		}
	}
	return slices.DeleteFunc(sorted, func(r Ranked) bool { return !kept[r.Layers] }), nil
}

// branches lists the linear layers of p to put something else into: all, or the Branch that helped most on their own.
func (s *seeker) branches(p search.Placement, by search.Objective) []int {
	free := p.Layers(search.Linear)
	if s.Branch == 0 || len(s.out.Single) == 0 || len(free) <= s.Branch {
		return free
	}
	slices.SortStableFunc(free, func(a, b int) int { return compare(s.out.Single[a], s.out.Single[b], []search.Objective{by}) })
	free = free[:s.Branch]
	slices.Sort(free)
	return free
}

// importance restores one layer at a time and takes those that help most: full attention by the first objective, and of the
// others, windows by theirs.
func (s *seeker) importance(ctx context.Context) ([]Ranked, error) {
	none := search.Uniform(s.layers, search.Linear)
	base, err := s.rank(ctx, []search.Placement{none}, s.Objectives)
	if err != nil {
		return nil, err
	}
	s.out.ByFull = base
	p := slices.Clone(none)
	for _, part := range []struct {
		kind  search.Kind
		count int
		by    []search.Objective
	}{{search.Full, s.Full, s.Objectives}, {search.Window, s.Window, s.WindowObjectives}} {
		if part.count == 0 {
			continue
		}
		var single []search.Placement
		for _, i := range p.Layers(search.Linear) {
			single = append(single, none.With(i, part.kind))
		}
		sorted, err := s.rank(ctx, single, part.by)
		if err != nil {
			return nil, err
		}
		if part.kind == search.Full {
			if s.out.Single, err = s.measure(ctx, single); err != nil {
				return nil, err
			}
		}
		for _, r := range sorted[:part.count] {
			p[r.Placement.Layers(part.kind)[0]] = part.kind
		}
	}
	return s.rank(ctx, []search.Placement{p}, s.Objectives)
}

// Evenly spreads layers of full attention over the depth, and windows over the layers that are left.
func Evenly(layers, full, window int) search.Placement {
	p := search.Uniform(layers, search.Linear)
	spread := func(free []int, n int, k search.Kind) {
		for i := range n {
			p[free[(2*i+1)*len(free)/(2*n)]] = k
		}
	}
	spread(p.Layers(search.Linear), full, search.Full)
	spread(p.Layers(search.Linear), window, search.Window)
	return p
}

// Draw draws different placements from a seed, at most as many as there are.
func Draw(layers, full, window, n int, seed uint64) []search.Placement {
	r := rand.New(rand.NewPCG(seed, 0x706c616365))
	most := count(layers, full) * count(layers-full, window)
	seen := map[string]bool{}
	var list []search.Placement
	for len(list) < n && float64(len(list)) < most {
		p, order := search.Uniform(layers, search.Linear), r.Perm(layers)
		for _, i := range order[:full] {
			p[i] = search.Full
		}
		for _, i := range order[full : full+window] {
			p[i] = search.Window
		}
		if !seen[p.String()] {
			seen[p.String()] = true
			list = append(list, p)
		}
	}
	return list
}

// all lists every placement of a budget.
func all(layers, full, window int) []search.Placement {
	var list []search.Placement
	var grow func(p search.Placement, i, full, window int)
	grow = func(p search.Placement, i, full, window int) {
		if full+window > layers-i {
			return
		}
		if i == layers {
			list = append(list, slices.Clone(p))
			return
		}
		for _, k := range []search.Kind{search.Linear, search.Full, search.Window} {
			f, w := full, window
			switch k {
			case search.Full:
				f--
			case search.Window:
				w--
			}
			if f < 0 || w < 0 {
				continue
			}
			p[i] = k
			grow(p, i+1, f, w)
		}
	}
	grow(make(search.Placement, layers), 0, full, window)
	return list
}

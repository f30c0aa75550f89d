package ruler

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// kind is what a key or a value is.
type kind struct {
	plural string
	draw   func(r *source) string
}

var (
	word       = kind{"words", func(r *source) string { return pick(r, adjectives) + "-" + pick(r, nouns) }}
	digits     = kind{"numbers", func(r *source) string { return fmt.Sprint(1_000_000 + r.IntN(9_000_000)) }}
	identifier = kind{"uuids", func(r *source) string {
		a, b := r.Uint64(), r.Uint64()
		// Of version 4: random.
		return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", uint32(a>>32), uint16(a>>16), a&0xfff, b>>48&0x3fff|0x8000, b&(1<<48-1))
	}}
)

// hay makes n units around needles of the same kind.
type hay func(r *source, n needles, units int) []string

// repeated is one line again and again.
func repeated(_ *source, _ needles, units int) []string {
	return slices.Repeat([]string{strings.TrimSuffix(noise, "\n")}, units)
}

// others are needles that nobody asks for.
func others(r *source, n needles, units int) []string {
	all := make([]string, units)
	for i := range all {
		all[i] = n.say(n.key.draw(r), n.value.draw(r))
	}
	return all
}

// prose is sentences that say nothing.
func prose(r *source, _ needles, units int) []string {
	all := make([]string, units)
	for i := range all {
		all[i] = sentence(r)
	}
	return all
}

// needles is a family of tasks: keys with values hidden in a haystack, of which queries are asked for. Zero is one.
type needles struct {
	hay                   hay
	glue                  string // between units
	key, value            kind
	keys, values, queries int
}

func (n needles) say(key, value string) string {
	return fmt.Sprintf("One of the special magic %s for %s is: %s.", n.value.plural, key, value)
}

func (n needles) task() task {
	n.keys, n.values, n.queries = max(1, n.keys), max(1, n.values), max(1, n.queries)
	return task{least: max(2, n.keys*n.values), room: 128, deep: n.keys*n.values == 1, build: n.build}
}

func (n needles) build(r *source, c Config, units int) draft {
	keys := distinct(n.keys, func() string { return n.key.draw(r) })
	values := distinct(n.keys*n.values, func() string { return n.value.draw(r) })
	var facts []string
	for i, v := range values {
		facts = append(facts, n.say(keys[i/n.values], v))
	}
	r.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
	d := draft{depth: -1}
	asked := keys[:n.queries]
	d.outputs = values[:n.queries*n.values]
	relative := make([]float64, len(facts)) // places do not move when the haystack grows
	for i := range relative {
		relative[i] = r.Float64()
	}
	slices.Sort(relative)
	if c.Depth != nil {
		relative[0] = *c.Depth / 100
	}
	if len(facts) == 1 {
		d.depth = 100 * relative[0]
	}
	hay := n.hay(r, n, units)
	for i := len(facts) - 1; i >= 0; i-- {
		hay = slices.Insert(hay, int(math.Round(relative[i]*float64(units))), facts[i])
	}
	d.input, d.prefix = n.ask(strings.Join(hay, n.glue), asked)
	return d
}

// ask puts the question. It is in the singular where there is one answer.
func (n needles) ask(context string, keys []string) (input, prefix string) {
	query := keys[0]
	if last := len(keys) - 1; last > 0 {
		query = strings.Join(keys[:last], ", ") + ", and " + keys[last]
	}
	what := n.value.plural
	if len(keys)*n.values == 1 {
		what = strings.TrimSuffix(what, "s")
		return fmt.Sprintf("A special magic %s is hidden within the following text. Make sure to memorize it. I will quiz you about the %s afterwards.\n%s\nWhat is the special magic %s for %s mentioned in the provided text?",
			what, what, context, what, query), fmt.Sprintf("The special magic %s for %s mentioned in the provided text is", what, query)
	}
	return fmt.Sprintf("Some special magic %s are hidden within the following text. Make sure to memorize it. I will quiz you about the %s afterwards.\n%s\nWhat are all the special magic %s for %s mentioned in the provided text?",
		what, what, context, what, query), fmt.Sprintf("The special magic %s for %s mentioned in the provided text are", what, query)
}

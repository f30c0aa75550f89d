package ruler

import (
	"fmt"
	"strings"
)

// person is somebody who does not exist.
type person struct{ name, town, trade, year, hobby string }

// firm is one that does not exist, and who founded it.
type firm struct{ name, founder, goods, year string }

// world is the people and firms of a sample: all names are different, and so are the towns.
type world struct {
	r     *source
	used  map[string]bool
	parts []string // documents
}

func newWorld(r *source) *world { return &world{r: r, used: map[string]bool{}} }

// name draws one that was not yet drawn.
func (w *world) name(draw func() string) string {
	for tries := 0; ; tries++ {
		n := draw()
		for range tries / 50 { // there are hardly any left
			n += pick(w.r, syllables)
		}
		if !w.used[n] {
			w.used[n] = true
			return n
		}
	}
}

func (w *world) capital(n int) string {
	s := ""
	for range n {
		s += pick(w.r, syllables)
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (w *world) person() person {
	return person{
		name:  w.name(func() string { return w.capital(2) + " " + w.capital(3) }),
		town:  w.name(func() string { return w.capital(2) + pick(w.r, endings) }),
		trade: pick(w.r, trades),
		year:  fmt.Sprint(1800 + w.r.IntN(180)),
		hobby: pick(w.r, nouns),
	}
}

func (w *world) firm(founder string) firm {
	return firm{w.name(func() string { return w.capital(3) + " " + pick(w.r, companies) }), founder, pick(w.r, nouns), fmt.Sprint(1830 + w.r.IntN(180))}
}

func (p person) text() string {
	return fmt.Sprintf("%s was born in %s in %s and learned to be a %s there. Neighbours remember a quiet house and a large collection of pictures, each of which shows a %s.",
		p.name, p.town, p.year, p.trade, p.hobby)
}

func (f firm) text() string {
	return fmt.Sprintf("%s was founded by %s in %s. In its first years it sold nothing but a new kind of %s, which it still makes in small numbers.",
		f.name, f.founder, f.year, f.goods)
}

// ask puts a question about numbered documents.
func (w *world) ask(question, answer string) draft {
	w.r.Shuffle(len(w.parts), func(i, j int) { w.parts[i], w.parts[j] = w.parts[j], w.parts[i] })
	var b strings.Builder
	for i, p := range w.parts {
		if i > 0 {
			b.WriteString("\n\n")
		}
		fmt.Fprintf(&b, "Document %d:\n%s", i+1, p)
	}
	const order = "Answer the question based on the given documents. Only give me the answer and do not output any other words."
	return draft{
		input:   fmt.Sprintf("%s\n\nThe following are given documents.\n\n%s\n\n%s\n\nQuestion: %s", order, b.String(), order, question),
		prefix:  "Answer:",
		outputs: []string{answer},
		depth:   -1,
	}
}

// oneHop asks for what one document says. A unit is a document.
func oneHop(r *source, _ Config, units int) draft {
	w := newWorld(r)
	p := w.person()
	question, answer := fmt.Sprintf("In which town was %s born?", p.name), p.town
	w.parts = append(w.parts, p.text())
	for len(w.parts) < units {
		w.parts = append(w.parts, w.person().text())
	}
	return w.ask(question, answer)
}

// twoHops asks for what two documents say together.
func twoHops(r *source, _ Config, units int) draft {
	w := newWorld(r)
	p := w.person()
	f := w.firm(p.name)
	w.parts = append(w.parts, p.text(), f.text())
	for len(w.parts) < units {
		other := w.person()
		w.parts = append(w.parts, other.text())
		if len(w.parts) < units {
			w.parts = append(w.parts, w.firm(other.name).text())
		}
	}
	return w.ask(fmt.Sprintf("In which town was the founder of %s born?", f.name), p.town)
}

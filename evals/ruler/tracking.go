package ruler

import (
	"fmt"
	"slices"
	"strings"
)

// noise is the line that RULER repeats.
const noise = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.\n"

// hops from a variable to the last one that has its value.
const hops = 4

// exampleNoise is how many lines the example of variable tracking has.
const exampleNoise = 5

// tracking is a chain of assignments, all in order, hidden in noise: which variables have the value? An example with its
// answer stands before.
func tracking(r *source, _ Config, units int) draft {
	example := chain(r, 3, exampleNoise)
	d := chain(r, 5, units)
	d.input = example.input + " " + example.prefix + " " + strings.Join(example.outputs, " ") + "\n\n\n" + d.input
	return d
}

func chain(r *source, letters, units int) draft {
	names := distinct(hops+1, func() string {
		b := make([]byte, letters)
		for i := range b {
			b[i] = byte('A' + r.IntN(26))
		}
		return string(b)
	})
	value := fmt.Sprint(10_000 + r.IntN(90_000))
	lines := slices.Repeat([]string{noise}, units)
	at := r.relative(len(names), units)
	for i := len(names) - 1; i >= 0; i-- {
		line := fmt.Sprintf("VAR %s = %s", names[i], value)
		if i > 0 {
			line = fmt.Sprintf("VAR %s = VAR %s ", names[i], names[i-1])
		}
		lines = slices.Insert(lines, at[i], line)
	}
	context := strings.ReplaceAll(strings.Join(lines, " "), ". \n", ".\n")
	return draft{
		input: fmt.Sprintf("Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n%s\nQuestion: Find all variables that are assigned the value %s in the text above.",
			context, value),
		// The slip in "assgined" is RULER's.
		prefix:  fmt.Sprintf("Answer: According to the chain(s) of variable assignment in the text above, %d variables are assgined the value %s, they are:", len(names), value),
		outputs: names,
		depth:   -1,
	}
}

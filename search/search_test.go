package search

import (
	"slices"
	"testing"
)

func TestPlacement(t *testing.T) {
	p, err := ParsePlacement("--F-S")
	if err != nil {
		t.Fatal(err)
	}
	if p.String() != "--F-S" || p.Count(Linear) != 3 || !slices.Equal(p.Layers(Full), []int{2}) || p.With(0, Full).String() != "F-F-S" || p[0] != Linear {
		t.Errorf("%v", p)
	}
	if got := p.LayerTypes("jet"); !slices.Equal(got, []string{"jet", "jet", "attn", "jet", "swa"}) {
		t.Errorf("%v", got)
	}
	if _, err := ParsePlacement("-x"); err == nil {
		t.Error("x is a kind")
	}
	if Uniform(3, Full).String() != "FFF" {
		t.Error("uniform")
	}
}

func TestObjective(t *testing.T) {
	if !Objective("recall/accuracy").Better(0.5, 0.4) || !TextKL.Better(0.4, 0.5) || TextPerplexity.Higher() {
		t.Error("objectives are compared the wrong way round")
	}
}

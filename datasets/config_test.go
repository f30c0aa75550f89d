package datasets

import (
	"math"
	"strings"
	"testing"

	"github.com/gojet/gojet/datasets/source"
)

func TestValidate(t *testing.T) {
	good := func() Config {
		c := Default()
		c.Path, c.Tokenizer = "corpus", "bytes"
		return c
	}
	two := func(a, b float64) func(*Config) {
		return func(c *Config) {
			c.Path = ""
			c.Sources = []Source{{Spec: source.Spec{Path: "a"}, Weight: a}, {Spec: source.Spec{Path: "b"}, Weight: b}}
		}
	}
	tokens := func(change func(*Config)) func(*Config) {
		return func(c *Config) {
			c.Path, c.Tokenizer, c.Tokens = "", "", &Tokens{Path: "f.safetensors", Tensor: "batches"}
			change(c)
		}
	}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		err    string // "" for none
	}{
		{"good", func(*Config) {}, ""},
		{"sources", two(0, 0), ""},
		{"weights", two(1, 3), ""},
		{"tokens", tokens(func(*Config) {}), ""},
		{"nothing", func(c *Config) { c.Path = "" }, "want one of data.path, data.sources and data.tokens, none is set"},
		{"both", func(c *Config) { c.Sources = make([]Source, 1) }, "found data.path and data.sources"},
		{"exclude", func(c *Config) { c.Exclude = []string{"*.md"} }, ""},
		{"exclude without path", tokens(func(c *Config) { c.Exclude = []string{"*.md"} }), "data.exclude is [\"*.md\"], want it only with data.path"},
		{"no tokenizer", func(c *Config) { c.Tokenizer = "" }, "data.tokenizer is not set"},
		{"one weight", two(1, 0), "data.sources: 1 of 2 have a weight, want all or none"},
		{"weight below 0", two(1, -1), "data.sources[1].weight is -1"},
		{"weight NaN", two(math.NaN(), 1), "data.sources[0].weight is NaN"},
		{"weight infinite", two(1, math.Inf(1)), "data.sources[1].weight is +Inf"},
		{"source", func(c *Config) { two(0, 0)(c); c.Sources[1].Format = "csv" }, `data.sources[1]: source: format "csv"`},
		{"source without path", func(c *Config) { two(0, 0)(c); c.Sources[0].Path = "" }, "data.sources[0]: source: path is empty"},
		{"many sources", func(c *Config) { c.Path, c.Sources = "", make([]Source, 5000) }, "data.sources has 5000 entries"},
		{"tokens without tensor", tokens(func(c *Config) { c.Tokens.Tensor = "" }), `data.tokens has path "f.safetensors" and tensor ""`},
		{"tokens held out", tokens(func(c *Config) { c.HeldOut = 1 }), "data.held_out is 1, want 0 with data.tokens"},
		{"tokens cut", tokens(func(c *Config) { c.MaxDocumentTokens = 1 }), "data.max_document_tokens is 1, want 0 with data.tokens"},
		{"held out below 0", func(c *Config) { c.HeldOut = -0.1 }, "data.held_out is -0.1"},
		{"held out NaN", func(c *Config) { c.HeldOut = math.NaN() }, "data.held_out is NaN"},
		{"held out half", func(c *Config) { c.HeldOut = 1.5 }, "data.held_out is 1.5"},
		{"documents below 0", func(c *Config) { c.MaxDocumentTokens = -1 }, "data.max_document_tokens is -1"},
		{"long", func(c *Config) { c.MaxDocumentTokens, c.LongDocuments = 5, "cut" }, `data.long_documents is "cut", want one of [split truncate drop refuse]`},
		{"long without length", func(c *Config) { c.LongDocuments = Drop }, "data.max_document_tokens, which says what is long, is not set"},
		{"workers", func(c *Config) { c.Workers = -1 }, "data.workers is -1"},
	} {
		c := good()
		tc.change(&c)
		err := c.Validate()
		if tc.err == "" && err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: error %v, want one with %q", tc.name, err, tc.err)
		}
	}
}

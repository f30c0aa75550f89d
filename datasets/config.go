package datasets

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gojet/gojet/datasets/source"
)

// Config says what a run learns from and in which order. Its zero value has no packing: begin with Default.
type Config struct {
	// Path is short for one source: a file, a directory, or a pattern.
	Path string `yaml:"path"`
	// Exclude are patterns of files that Path finds and that are left out.
	Exclude []string `yaml:"exclude"`
	// Sources are read one after the other.
	Sources []Source `yaml:"sources"`
	// Tokens are ids that were packed into batches beforehand, instead of Path and Sources.
	Tokens *Tokens `yaml:"tokens"`
	// Tokenizer is a tokenizer.json, the folder that holds one, or "bytes". Beside Tokens it is not needed.
	Tokenizer string `yaml:"tokenizer"`
	// EndOfDocument is the token put after each text: empty for the eos_token of the tokenizer's folder if it names one,
	// "none" for no token. Chats end as their template says.
	EndOfDocument string `yaml:"end_of_document"`
	// HeldOut is how many documents are kept from training: a fraction below 1, or a number of documents.
	HeldOut float64 `yaml:"held_out"`
	// Seed picks the documents held out and the order of the others.
	Seed uint64 `yaml:"seed"`
	// Packing lays documents one after the other into rows. Without it a row has one document and padding.
	Packing bool `yaml:"packing"`
	// MaxDocumentTokens is what makes a document long, 0 for any number; LongDocuments is what is done then. Whatever
	// does not fit a row goes on in the next, as a document of its own.
	MaxDocumentTokens int  `yaml:"max_document_tokens"`
	LongDocuments     Long `yaml:"long_documents"`
	// MaskPrompt learns only what the assistant says in chats.
	MaskPrompt bool `yaml:"mask_prompt"`
	// Cache is the directory of tokenised data, empty for gojet/data below the user's cache directory.
	Cache string `yaml:"cache"`
	// Workers make batches ahead of the trainer, and tokenise: 0 for the number of processors.
	Workers int `yaml:"workers"`
}

// Default returns the settings of a recipe that says nothing.
func Default() Config { return Config{Packing: true, LongDocuments: Split, MaskPrompt: true} }

// Source is files and their weight.
type Source struct {
	source.Spec `yaml:",inline"`
	// Weight is the source's share of the rows, relative to the others'. Without weights all documents are shuffled together.
	Weight float64 `yaml:"weight"`
}

// Tokens names a tensor [steps, batch, time] of a safetensors file. Its rows are taken in order, and from the first again
// after the last; each is one document.
type Tokens struct {
	Path   string `yaml:"path"`
	Tensor string `yaml:"tensor"`
}

// Long is what is done with a document of more than MaxDocumentTokens.
type Long string

const (
	Split    Long = "split"    // into documents of that many
	Truncate Long = "truncate" // the rest is left out
	Drop     Long = "drop"     // the document is left out
	Refuse   Long = "refuse"   // an error
)

// none as EndOfDocument is no token.
const none = "none"

// Validate reports settings that mean nothing, without looking at the disk.
func (c *Config) Validate() error {
	if err := c.validateSources(); err != nil {
		return err
	}
	switch {
	case c.Tokenizer == "" && c.Tokens == nil:
		return errors.New(`data.tokenizer is not set, want a tokenizer.json, the folder that holds one, or "bytes"`)
	case !(c.HeldOut >= 0) || c.HeldOut > math.MaxInt32:
		return fmt.Errorf("data.held_out is %v, want a fraction below 1 or a number of documents", c.HeldOut)
	case c.HeldOut >= 1 && c.HeldOut != math.Trunc(c.HeldOut):
		return fmt.Errorf("data.held_out is %v, want a fraction below 1 or a whole number of documents", c.HeldOut)
	case c.MaxDocumentTokens < 0 || c.MaxDocumentTokens > math.MaxInt32:
		return fmt.Errorf("data.max_document_tokens is %d, want 1 or more, or 0 for any number", c.MaxDocumentTokens)
	case c.Workers < 0 || c.Workers > 1024:
		return fmt.Errorf("data.workers is %d, want 1 to 1024, or 0 for the number of processors", c.Workers)
	}
	known := []Long{"", Split, Truncate, Drop, Refuse}
	if !slices.Contains(known, c.LongDocuments) {
		return fmt.Errorf("data.long_documents is %q, want one of %v", c.LongDocuments, known[1:])
	}
	if c.MaxDocumentTokens == 0 && !slices.Contains(known[:2], c.LongDocuments) {
		return fmt.Errorf("data.long_documents is %q but data.max_document_tokens, which says what is long, is not set", c.LongDocuments)
	}
	return nil
}

// validateSources asks for exactly one of Path, Sources and Tokens, and looks into it.
func (c *Config) validateSources() error {
	var set []string
	for _, k := range []struct {
		key string
		set bool
	}{{"path", c.Path != ""}, {"sources", len(c.Sources) > 0}, {"tokens", c.Tokens != nil}} {
		if k.set {
			set = append(set, "data."+k.key)
		}
	}
	if len(set) != 1 {
		found := "none is set"
		if len(set) > 1 {
			found = "found " + strings.Join(set, " and ")
		}
		return fmt.Errorf("data: want one of data.path, data.sources and data.tokens, %s", found)
	}
	if c.Path == "" && len(c.Exclude) > 0 {
		return fmt.Errorf("data.exclude is %q, want it only with data.path; each of data.sources has its own", c.Exclude)
	}
	if t := c.Tokens; t != nil {
		switch {
		case t.Path == "" || t.Tensor == "":
			return fmt.Errorf("data.tokens has path %q and tensor %q, want both", t.Path, t.Tensor)
		case c.HeldOut != 0:
			return fmt.Errorf("data.held_out is %v, want 0 with data.tokens: its rows are taken as they are", c.HeldOut)
		case c.MaxDocumentTokens != 0:
			return fmt.Errorf("data.max_document_tokens is %d, want 0 with data.tokens: its rows are taken as they are", c.MaxDocumentTokens)
		}
	}
	if len(c.Sources) > cycle/4 {
		return fmt.Errorf("data.sources has %d entries, want at most %d", len(c.Sources), cycle/4)
	}
	weights := 0
	for i, s := range c.Sources {
		if err := s.Validate(); err != nil {
			return fmt.Errorf("data.sources[%d]: %w", i, err)
		}
		if !(s.Weight >= 0) || s.Weight > math.MaxFloat32 {
			return fmt.Errorf("data.sources[%d].weight is %v, want a finite number above 0", i, s.Weight)
		}
		if s.Weight > 0 {
			weights++
		}
	}
	if weights != 0 && weights != len(c.Sources) {
		return fmt.Errorf("data.sources: %d of %d have a weight, want all or none", weights, len(c.Sources))
	}
	return nil
}

// sources returns Path or Sources as the latter.
func (c *Config) sources() []Source {
	if c.Path != "" {
		return []Source{{Spec: source.Spec{Path: c.Path, Exclude: c.Exclude}}}
	}
	return c.Sources
}

// weighted reports that sources are mixed by weight.
func (c *Config) weighted() bool { return len(c.Sources) > 0 && c.Sources[0].Weight > 0 }

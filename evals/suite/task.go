package suite

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Task is one task as its file has it. See the package's comment.
type Task struct {
	Name  string `yaml:"task"`
	Alias string `yaml:"task_alias"`
	Tags  Texts  `yaml:"tag"`

	Repository    string           `yaml:"dataset_path"`
	Configuration string           `yaml:"dataset_name"`
	Files         map[string]Texts `yaml:"dataset_files"`
	Training      string           `yaml:"training_split"`
	Validation    string           `yaml:"validation_split"`
	Test          string           `yaml:"test_split"`
	Process       Process          `yaml:"process_docs"`
	Generated     *Generated       `yaml:"generated"`

	Format          `yaml:",inline"`
	Description     string  `yaml:"description"`
	NumFewshot      *int    `yaml:"num_fewshot"`
	FewshotSplit    string  `yaml:"fewshot_split"`
	Fewshot         Fewshot `yaml:"fewshot_config"`
	DocToLength     string  `yaml:"doc_to_length"`
	Output          string  `yaml:"output_type"`
	Generation      Options `yaml:"generation_kwargs"`
	Repeats         int     `yaml:"repeats"`
	UnsafeCode      bool    `yaml:"unsafe_code"`
	Filters         []Chain `yaml:"filter_list"`
	Metrics         Metrics `yaml:"metric_list"`
	Metadata        Options `yaml:"metadata"`
	Kwargs          Options `yaml:"dataset_kwargs"`
	Decontaminate   bool    `yaml:"should_decontaminate"`         // accepted, and nothing is done
	Decontamination string  `yaml:"doc_to_decontamination_query"` // likewise

	Path string `yaml:"-"` // of the file it came from
}

// Format is how a document becomes a prompt and its answer. What is nil is not given.
type Format struct {
	Text            any     `yaml:"doc_to_text"`
	Target          any     `yaml:"doc_to_target"`
	Choice          any     `yaml:"doc_to_choice"`
	GenPrefix       *string `yaml:"gen_prefix"`
	TargetDelimiter *string `yaml:"target_delimiter"`
	Delimiter       *string `yaml:"fewshot_delimiter"`
}

// Over returns f with other's values where f has none.
func (f Format) Over(other Format) Format {
	if f.Text == nil {
		f.Text = other.Text
	}
	if f.Target == nil {
		f.Target = other.Target
	}
	if f.Choice == nil {
		f.Choice = other.Choice
	}
	f.GenPrefix = cmp.Or(f.GenPrefix, other.GenPrefix)
	f.TargetDelimiter = cmp.Or(f.TargetDelimiter, other.TargetDelimiter)
	f.Delimiter = cmp.Or(f.Delimiter, other.Delimiter)
	return f
}

// Fewshot is how examples are chosen and written, where they differ from the question.
type Fewshot struct {
	Format  `yaml:",inline"`
	Sampler string           `yaml:"sampler"`
	Split   string           `yaml:"split"`
	Samples []map[string]any `yaml:"samples"`
	Indices []int            `yaml:"fewshot_indices"`
	File    string           `yaml:"file"`
}

// Samplers of examples.
const (
	Drawn  = "default" // by the seed
	FirstN = "first_n"
)

// Process is what is done to documents.
type Process struct {
	Seed   int64  `yaml:"seed"`
	Fields Fields `yaml:"fields"`
	Where  string `yaml:"where"`
}

// Generated says how the documents of a task without data are made. It has one of these.
type Generated struct {
	Ruler  string `yaml:"ruler"`  // a task of package ruler, at every length
	Grid   string `yaml:"grid"`   // likewise, with the needle at several depths
	Recall bool   `yaml:"recall"` // keys and values, and then keys, of package tasks
}

func (g *Generated) validate() error {
	if g == nil {
		return nil
	}
	n := 0
	for _, set := range []bool{g.Ruler != "", g.Grid != "", g.Recall} {
		if set {
			n++
		}
	}
	if n != 1 {
		return errors.New("generated: want one of ruler, grid and recall")
	}
	return nil
}

// Field is a new field of documents.
type Field struct {
	Name  string
	Value any // as doc_to_target
}

// Fields keeps the order of the file.
type Fields []Field

// UnmarshalYAML reads a mapping.
func (f *Fields) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: fields is no mapping", n.Line)
	}
	for i := 0; i < len(n.Content); i += 2 {
		var v any
		if err := n.Content[i+1].Decode(&v); err != nil {
			return err
		}
		*f = append(*f, Field{n.Content[i].Value, v})
	}
	return nil
}

// Texts is a list of texts, or one alone.
type Texts []string

// UnmarshalYAML reads a text or a list.
func (t *Texts) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		*t = Texts{n.Value}
		return nil
	}
	return n.Decode((*[]string)(t))
}

// Options are keys and values of free choice.
type Options = map[string]any

// Chain is a pipeline of filters.
type Chain struct {
	Name  string    `yaml:"name"`
	Steps []Options `yaml:"filter"`
}

// Metric is one of the metrics of a task.
type Metric struct {
	Name           string
	Aggregation    string
	HigherIsBetter *bool
	By             string  // a field: values are put together for each of its values on its own, which is their name
	Options        Options // its own
}

// Metrics is the list of a task.
type Metrics []Metric

// common are the keys that all metrics have.
var common = []string{"metric", "aggregation", "higher_is_better", "by"}

// UnmarshalYAML parts the keys that all metrics have from a metric's own.
func (m *Metrics) UnmarshalYAML(n *yaml.Node) error {
	var all []Options
	if err := n.Decode(&all); err != nil {
		return err
	}
	for i, o := range all {
		var one Metric
		okay := [4]bool{true, true, true, true}
		one.Name, okay[0] = o["metric"].(string)
		if by, given := o["by"]; given {
			one.By, okay[3] = by.(string)
		}
		if a, given := o["aggregation"]; given {
			one.Aggregation, okay[1] = a.(string)
		}
		if h, given := o["higher_is_better"]; given && h != nil {
			var b bool
			b, okay[2] = h.(bool)
			one.HigherIsBetter = &b
		}
		for j, key := range common {
			if !okay[j] {
				return fmt.Errorf("line %d: metric_list[%d]: %s is %v", n.Line, i, key, o[key])
			}
		}
		one.Options = maps.Clone(o)
		maps.DeleteFunc(one.Options, func(key string, _ any) bool {
			return slices.Contains(common, key)
		})
		*m = append(*m, one)
	}
	return nil
}

// Output types.
const (
	MultipleChoice = "multiple_choice"
	LogLikelihood  = "loglikelihood"
	Rolling        = "loglikelihood_rolling"
	Generate       = "generate_until"
)

// Outputs lists the output types.
func Outputs() []string { return []string{MultipleChoice, LogLikelihood, Rolling, Generate} }

// Evaluated is the split that is evaluated.
func (t *Task) Evaluated() string { return cmp.Or(t.Test, t.Validation) }

// ExampleSplit is where examples come from, unless they stand in the file.
func (t *Task) ExampleSplit() string {
	return cmp.Or(t.Fewshot.Split, t.FewshotSplit, t.Training, t.Validation, t.Test)
}

// Version is the task's own, as it is written.
func (t *Task) Version() string {
	if v, ok := t.Metadata["version"]; ok {
		return versionText(v)
	}
	return "Yaml"
}

func versionText(v any) string {
	if f, ok := v.(float64); ok && f == float64(int(f)) {
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprint(v)
}

// Validate reports the first value that cannot be, by its key.
func (t *Task) Validate() error {
	switch {
	case t.Name == "":
		return errors.New("task is missing")
	case strings.ContainsAny(t.Name, "/\\ \t\n,"):
		return fmt.Errorf("task is %q, want no slash, comma or space", t.Name)
	case !slices.Contains(Outputs(), t.Output):
		return fmt.Errorf("output_type is %q, want one of %s", t.Output, strings.Join(Outputs(), ", "))
	case t.Repository == "" && t.Generated == nil:
		return errors.New("dataset_path is missing")
	case t.Evaluated() == "" && t.Generated == nil:
		return errors.New("test_split and validation_split are missing, want one of them")
	case t.Target == nil && t.Output != Generate:
		return errors.New("doc_to_target is missing")
	case t.Text == nil && t.Output != Rolling:
		return errors.New("doc_to_text is missing")
	case t.Output == MultipleChoice && t.Choice == nil:
		return errors.New("doc_to_choice is missing, want it with output_type multiple_choice")
	case t.NumFewshot != nil && *t.NumFewshot < 0:
		return fmt.Errorf("num_fewshot is %d, want 0 or more", *t.NumFewshot)
	case t.Repeats < 0:
		return fmt.Errorf("repeats is %d, want 1 or more", t.Repeats)
	case t.Fewshot.Sampler != "" && t.Fewshot.Sampler != Drawn && t.Fewshot.Sampler != FirstN:
		return fmt.Errorf("fewshot_config: sampler is %q, want %s or %s", t.Fewshot.Sampler, Drawn, FirstN)
	}
	if err := t.Generated.validate(); err != nil {
		return err
	}
	for key := range t.Kwargs {
		if key != "trust_remote_code" {
			return fmt.Errorf("dataset_kwargs: %s is not supported: say where the files are by dataset_files", key)
		}
	}
	return nil
}

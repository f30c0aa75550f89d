package recipes

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gojet/gojet/datasets/source"
	"github.com/gojet/gojet/recipes/schema"
)

// small is a valid recipe; ROOT is replaced by a folder with data and models.
const small = `name: small
output: ROOT/out
models:
  teacher:
    path: ROOT/teacher
  student:
    from: teacher
    layer_types: [jet, attn]
    blocks: {jet: {num_heads: 2, head_dim: 8, expand_v: 2}}
  fresh:
    config:
      model_type: qwen2
      hidden_size: 16
      intermediate_size: 32
      num_hidden_layers: 2
      num_attention_heads: 2
      num_key_value_heads: 1
      vocab_size: 256
data:
  path: ROOT/text.txt
  tokenizer: bytes
  held_out: 1
stages:
  - name: one
    model: student
    teacher: teacher
    steps: 10
    freeze: ["*.mlp.*"]
    loss: {kl: 1}
  - name: two
    model: fresh
    steps: 5
    loss: {cross_entropy: 1}
`

const tiny = `{"model_type": "qwen2", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
"num_key_value_heads": 1, "vocab_size": VOCAB}`

// ground makes the folder that small names.
func ground(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"text.txt": "text", "teacher/config.json": strings.Replace(tiny, "VOCAB", "256", 1), "other/config.json": strings.Replace(tiny, "VOCAB", "300", 1),
		"broken/config.json": "{", "texts/a.txt": "a", "file": "",
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func check(root, text string, overrides ...string) error {
	for i := range overrides {
		overrides[i] = strings.ReplaceAll(overrides[i], "ROOT", root)
	}
	r, err := Parse("small.yaml", []byte(strings.ReplaceAll(text, "ROOT", root)), overrides...)
	if err == nil {
		err = r.Validate()
	}
	return err
}

// TestBadInput gives each thing that can be wrong with a recipe, and expects one line that says so.
func TestBadInput(t *testing.T) {
	root := ground(t)
	if err := check(root, small); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, old, new, want string }{
		{"unknown_field", "steps: 10", "stepz: 10", "small.yaml:27: stages.one.stepz is unknown, did you mean steps? Allowed: steps, name, model,"},
		{"duplicate_key", "steps: 5", "steps: 5\n    steps: 6", "small.yaml:33: stages.two.steps is given twice, first on line 32"},
		{"recompute_layers alone", "steps: 5", "steps: 5\n    recompute_layers: 2", "small.yaml:33: stages.two.recompute_layers is 2 without recompute: true"},
		{"wrong_type", "steps: 5", "steps: many", "small.yaml:32: stages.two.steps is many, want a whole number"},
		{"alias_bomb", "name: small", "a: &a [x,x]\nb: &b [*a,*a]\nname: small", "small.yaml:1: anchor &a, want the value alone"},
		{"20k_depth", "name: small", "name: " + strings.Repeat("[", 20000), "depth"},
		{"multi_document", "name: small", "name: small\n---\nname: other", "small.yaml:2: a second document begins"},
		{"tab_indent", "    steps: 5", "\tsteps: 5", "small.yaml:32: a tab in the indentation, want spaces"},
		{"lr_nan", "steps: 5", "steps: 5\n    optimizer: {lr: .nan}", "small.yaml:33: stages.two.optimizer.lr is .nan, want a finite number"},
		{"lr_inf", "steps: 5", "steps: 5\n    optimizer: {lr: .inf}", "small.yaml:33: stages.two.optimizer.lr is .inf, want a finite number"},
		{"lr_negative", "steps: 5", "steps: 5\n    optimizer:\n      lr: -1e-3", "small.yaml:34: stages.two.optimizer.lr is -0.001, want a finite number of 0 or more"},
		{"steps_overflow", "steps: 5", "steps: 99999999999999999999", "small.yaml:32: stages.two.steps is 99999999999999999999, want a whole number of 64 bits"},
		{"steps too many", "steps: 5", "steps: 9999999999", "small.yaml:32: stages.two.steps is 9999999999, want 1 to"},
		{"tokens overflow", "steps: 5", "steps: 2000000000\n    accumulate: 1000000", "small.yaml:32: stages.two.steps is 2000000000, which makes 4.1e+18 tokens"},
		{"micro-batch", "steps: 5", "steps: 5\n    rows: 1000000\n    length: 30000", "small.yaml:33: stages.two.rows is 1000000 of length 30000"},
		{"no_as_bool", "steps: 5", "steps: 5\n    recompute: no", "small.yaml:33: stages.two.recompute is no, want true or false"},
		{"no as string", "name: small", "name: no", `small.yaml:1: name is no, want a string: in quotes, "no"`},
		{"layer_out_of_range", "layer_types: [jet, attn]", "layer_types: [jet, attn, jet]", "small.yaml:8: models.student.layer_types has 3 names, want 2, one for each layer of teacher"},
		{"layer_out_of_range pattern", `["*.mlp.*"]`, `["model.layers.7.mlp.*"]`, `small.yaml:28: stages.one.freeze has "model.layers.7.mlp.*", which matches no weight of student (2 layers;`},
		{"layer type", "[jet, attn]", "[jett, attn]", `small.yaml:6: models.student: layer 0: layers: layer type "jett" is unknown, want one of attn,`},
		{"heads_not_dividing_hidden", "num_attention_heads: 2", "num_attention_heads: 3", "small.yaml:13: models.fresh.config.hidden_size is 16, want a multiple of num_attention_heads, 3"},
		{"block option", "num_heads: 2,", "num_heads: 0,", "small.yaml:9: models.student.blocks.jet.num_heads is 0, want 1 to"},
		{"window", "[jet, attn]", "[jet, swa]", "models.student.blocks.swa is missing"},
		{"vocab_mismatch_teacher", "path: ROOT/teacher", "path: ROOT/teacher\n  odd:\n    path: ROOT/other", ""},
		{"nonexistent_path", "ROOT/teacher", "ROOT/nothing", "small.yaml:5: models.teacher.path is ROOT/nothing, which does not exist"},
		{"nonexistent data", "path: ROOT/text.txt", "path: ROOT/no.txt", "small.yaml:20: data.path is ROOT/no.txt, which does not exist"},
		{"nonexistent pattern", "path: ROOT/text.txt", "path: ROOT/*.jsonl", "small.yaml:20: data.path is ROOT/*.jsonl"},
		{"nonexistent tokenizer", "tokenizer: bytes", "tokenizer: ROOT/tok", "small.yaml:21: data.tokenizer is ROOT/tok, which does not exist"},
		{"model is a file", "ROOT/teacher", "ROOT/file", "small.yaml:5: models.teacher.path is ROOT/file, a file, want the folder"},
		{"model is broken", "ROOT/teacher", "ROOT/broken", "small.yaml:5: models.teacher.path is ROOT/broken: config.json: "},
		{"output_equals_input", "output: ROOT/out", "output: ROOT/teacher", "small.yaml:2: output is ROOT/teacher, equal to models.teacher.path"},
		{"output holds input", "output: ROOT/out", "output: ROOT", "small.yaml:2: output is ROOT, which holds"},
		{"output in data", "path: ROOT/text.txt", "path: ROOT/texts", ""},
		{"output is a file", "output: ROOT/out", "output: ROOT/file", "small.yaml:2: output is ROOT/file, a file, want a folder"},

		{"no name", "name: small\n", "", "small.yaml:1: name is missing"},
		{"name", "name: small", "name: a/b", `small.yaml:1: name is "a/b", want letters`},
		{"device", "name: small", "name: small\ndevice: cuda", "small.yaml:2: device is cuda, but this build has no GPU support ('make gpu' builds one that has), want cpu or auto"},
		{"other device", "name: small", "name: small\ndevice: tpu", `small.yaml:2: device is "tpu", want cpu, cuda or auto`},
		{"threads", "name: small", "name: small\nthreads: -1", "small.yaml:2: threads is -1, want 1 to 1024, or 0 for all cores"},
		{"plot", "name: small", "name: small\nlog: {plot: jpg}", `small.yaml:2: log.plot is "jpg", want svg, png or none`},
		{"wandb", "name: small", "name: small\nlog: {wandb: {mode: on}}", `small.yaml:2: log.wandb.mode is on, want a string`},
		{"wandb mode", "name: small", "name: small\nlog: {wandb: {mode: live}}", `small.yaml:2: log.wandb.mode is "live", want disabled, offline or online`},
		{"wandb project", "name: small", "name: small\nlog: {wandb: {mode: offline, project: \"\"}}", "small.yaml:2: log.wandb.project is empty"},
		{"keep_last", "name: small", "name: small\ncheckpoint: {keep_last: 0}", "small.yaml:2: checkpoint.keep_last is 0, want 1 to"},
		{"keep_best", "name: small", "name: small\ncheckpoint: {keep_best: a b}", `small.yaml:2: checkpoint.keep_best is "a b", want eval/loss or eval/kl`},
		{"keep_best unmeasured", "held_out: 1", "held_out: 0\ncheckpoint: {keep_best: eval/loss}", `checkpoint.keep_best is "eval/loss", but data.held_out is 0`},
		{"samples", "name: small", "name: small\nsamples: {temperature: -1}", "small.yaml:2: samples.temperature is -1, want a finite number of 0 or more"},
		{"top_p", "name: small", "name: small\nsamples: {top_p: 2}", "small.yaml:2: samples.top_p is 2, want above 0 and at most 1"},
		{"max_tokens", "name: small", "name: small\nsamples: {max_tokens: 0}", "small.yaml:2: samples.max_tokens is 0, want 1 to"},
		{"no models", small[strings.Index(small, "models:"):strings.Index(small, "data:")], "", "small.yaml:1: models is empty, want at least one"},
		{"no stages", small[strings.Index(small, "stages:"):], "", "small.yaml:1: stages is empty, want at least one"},
		{"stage names", "name: two", "name: one", `stages.1.name is "one", like that of a stage before`},
		{"stage name", "name: two", "name: t.w", `small.yaml:30: stages.1.name is "t.w", want letters`},
		{"unnamed stage", "- name: two\n    model", "- model", `small.yaml:30: stages.1.name is "" and model "fresh", want both`},
		{"model missing", "model: fresh", "model: frehs", `small.yaml:31: stages.two.model is "frehs", which is none of the models, did you mean fresh? want one of fresh, student, teacher`},
		{"teacher missing", "teacher: teacher", "teacher: tutor", `small.yaml:26: stages.one.teacher is "tutor", which is none of the models`},
		{"teacher itself", "teacher: teacher", "teacher: student", "small.yaml:26: stages.one.teacher is student, the model itself"},
		{"teacher untrained", "teacher: teacher", "teacher: fresh", "small.yaml:26: stages.one.teacher is fresh, which has neither a path nor an earlier stage that trains it"},
		{"from untrained", "from: teacher", "from: fresh", "small.yaml:25: stages.one.model is student, made from fresh, which has neither"},
		{"from missing", "from: teacher", "from: nobody", `small.yaml:7: models.student.from is "nobody", which is none of the models`},
		{"circle", "from: teacher", "from: student", "small.yaml:7: models.student.from goes in a circle: student from student"},
		{"model of nothing", "    path: ROOT/teacher\n", "    map_projections: true\n", "small.yaml:4: models.teacher: 0 of path, config and from are given, want exactly one"},
		{"model name", "  fresh:", "  b d: {path: ROOT/other}\n  fresh:", `small.yaml:10: models.b d: the name is "b d", want letters`},
		{"data", "held_out: 1", "held_out: -1", "small.yaml:22: data.held_out is -1, want a fraction"},
		{"no data", "  path: ROOT/text.txt\n", "", "small.yaml:19: data: want one of data.path, data.sources and data.tokens"},
		{"source", "  path: ROOT/text.txt\n", "  sources: [{path: ROOT/text.txt, format: csv}]\n", `small.yaml:20: data.sources.0.format "csv", want one of text`},
		{"vocabulary", "vocab_size: 256", "vocab_size: 255", "small.yaml:21: data.tokenizer is bytes, of 256 tokens at least, but models.fresh has a vocabulary of 255"},
		{"no loss", "loss: {kl: 1}", "loss: {kl: 0}", "stages.one.teacher is \"teacher\": kl and hidden losses need one"},
		{"samples without prompts", "steps: 5", "steps: 5\n    sample_every: 2", "small.yaml:33: stages.two.sample_every is 2, but samples.prompts is empty"},
		{"evaluation without data", "  held_out: 1\n", "", ""},
		{"patience", "steps: 5", "steps: 5\n    early_stop: {patience: 2}", "small.yaml:33: stages.two.early_stop.patience is 2, but eval_every is 0"},
		{"length", "steps: 5", "steps: 5\n    length: 40000", "small.yaml:33: stages.two.length is 40000, want at most 32768"},
		{"nothing to train", `["*.mlp.*"]`, `["*"]`, "stages.one: no weight of student is left to learn by train and freeze"},
		{"lora target", "steps: 5", "steps: 5\n    lora: {rank: 4, alpha: 8, targets: [z_proj]}", `small.yaml:33: stages.two.lora: lora target "z_proj" is no matrix`},
	} {
		if tc.want == "" {
			continue // in TestPairs
		}
		t.Run(tc.name, func(t *testing.T) {
			text := strings.Replace(small, tc.old, tc.new, 1)
			if text == small {
				t.Fatalf("%q is not in the recipe", tc.old)
			}
			oneLine(t, check(root, text), strings.ReplaceAll(tc.want, "ROOT", root))
		})
	}
}

// oneLine asks for a single problem in a single line.
func oneLine(t *testing.T, err error, want string) {
	t.Helper()
	var ps schema.Problems
	if err == nil || !errors.As(err, &ps) {
		t.Fatalf("got %v, want %q", err, want)
	}
	if len(ps) != 1 || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), want) {
		t.Errorf("got %d problems, %v\nwant one, %q", len(ps), err, want)
	}
}

// TestOverridden: what an override breaks is reported with the override.
func TestOverridden(t *testing.T) {
	root := ground(t)
	for _, tc := range []struct{ override, want string }{
		{"models.teacher.path=ROOT/other", "small.yaml:"},
		{"stages.one.optimizer.lr=-1", "override stages.one.optimizer.lr=-1: stages.one.optimizer.lr is -1, want a finite number of 0 or more"},
		{"stages.one.steps=no", "override stages.one.steps=no: stages.one.steps is no, want a whole number"},
		{"stages.three.steps=1", "override stages.three.steps=1: stages has no element three, want one, two or 0 to 1"},
		{"stage.one.steps=1", "override stage.one.steps=1: stage is unknown, did you mean stages?"},
		{"lr=1", "override lr=1: lr is unknown, did you mean stages.NAME.optimizer.lr or search.supernet.optimizer.lr or search.blocks.trial.stage.optimizer.lr?"},
		{"models.student.layer_types=[jet]", "override models.student.layer_types=[jet]: models.student.layer_types has 1 names, want 2"},
		{"output=ROOT/teacher", "output is ROOT/teacher, equal to models.teacher.path"},
		{"data.path=ROOT/texts", ""},
	} {
		err := check(root, small, tc.override)
		switch want := strings.ReplaceAll(tc.want, "ROOT", root); {
		case tc.want == "" || tc.want == "small.yaml:":
			if err != nil {
				t.Errorf("%s: %v", tc.override, err)
			}
		default:
			oneLine(t, err, want)
		}
	}
}

// TestPairs: what is wrong only together.
func TestPairs(t *testing.T) {
	root := ground(t)
	for _, tc := range []struct {
		name      string
		overrides []string
		want      string
	}{
		{"vocab_mismatch_teacher", []string{"models.odd.path=ROOT/other", "stages.one.teacher=odd"},
			"stages.one.teacher is odd with a vocabulary of 300, but student has 256, want the same"},
		{"hidden", []string{"models.fresh.config.hidden_size=32", "models.deep.from=fresh", "models.deep.layer_types=attn,attn",
			"stages.0.model=fresh", "stages.0.loss.hidden=1", "stages.0.freeze=[]"}, "loss.hidden is 1, but teacher has 2 layers of width 16 and fresh 2 of 32"},
		{"output in data", []string{"data.path=ROOT/texts", "output=ROOT/texts/out"}, "output is ROOT/texts/out, inside data.path, ROOT/texts, and would be read with it"},
		{"output in pattern", []string{"data.path=ROOT/**/*.txt", "output=ROOT/elsewhere"}, "output is ROOT/elsewhere, inside data.path, ROOT/**/*.txt"},
		{"evaluation without data", []string{"data.held_out=0", "stages.two.eval_every=2"}, "stages.two.eval_every is 2, but data.held_out is 0"},
		{"circle of two", []string{"models.student.from=third", "models.third.from=student", "models.third.layer_types=attn,attn", "stages.0.model=teacher", "stages.0.teacher=", "stages.0.loss={cross_entropy: 1}"}, "goes in a circle: student from third from student"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := check(root, small, tc.overrides...)
			if want := strings.ReplaceAll(tc.want, "ROOT", root); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

// TestLink: a link to an input is the input.
func TestLink(t *testing.T) {
	root := ground(t)
	if err := os.Symlink(filepath.Join(root, "teacher"), filepath.Join(root, "link")); err != nil {
		t.Skip(err)
	}
	oneLine(t, check(root, small, "output=ROOT/link"), "equal to models.teacher.path")
}

// FuzzParse: whatever the text, there is a recipe or an error, and a recipe can be checked and written.
func FuzzParse(f *testing.F) {
	f.Add(small, "stages.one.steps=3")
	f.Add("name: x\nmodels: {a: {from: a}}\nstages: [{}]", "data.sources=[{path: x}]")
	for _, name := range Names() {
		text, err := Text(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "seed=3")
	}
	nothing := disk{
		stat: func(string) (os.FileInfo, error) { return nil, os.ErrNotExist },
	}
	nothing.find = func(source.Spec) error { return os.ErrNotExist }
	f.Fuzz(func(t *testing.T, text, override string) {
		r, err := Parse("fuzz.yaml", []byte(text), override)
		if err != nil {
			return
		}
		if err := r.validate(nothing); err != nil && err.Error() == "" {
			t.Error("an error that says nothing")
		}
		resolved(t, r)
	})
}

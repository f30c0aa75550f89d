package chat

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
	"github.com/nikolalohinski/gonja/v2/tokens"

	"github.com/gojet/gojet/datasets/tokenizer"
)

// Bounds of a template and of one rendering. Templates come with checkpoints: they are programs by strangers.
const (
	maxSource  = 128 << 10 // bytes of a template
	maxOutput  = 64 << 20  // bytes of a rendered conversation
	maxSteps   = 1 << 17   // turns of loops and calls of macros
	maxDepth   = 64        // of macros calling each other
	maxRange   = 100_000   // of range(), as the sandbox of Jinja has it
	maxSeconds = 10        // of a rendering
)

// ErrNoTemplate is wrapped by Load where a tokenizer has no chat template.
var ErrNoTemplate = errors.New("has no chat template")

// Template is a chat template. Any number of goroutines may use it at once.
type Template struct {
	// Now is what strftime_now tells, time.Now where it is nil. A template that writes the date gives other texts on
	// other days.
	Now func() time.Time

	root     *exec.Template
	specials map[string]string
	names    []string // all names in the template
}

// Load makes the template of the tokenizer in dir: chat_template of tokenizer_config.json or the file chat_template.jinja,
// with the special tokens that the templates are told of.
func Load(dir string) (*Template, error) {
	c, err := tokenizer.LoadConfig(dir)
	if err != nil {
		return nil, err
	}
	if c.ChatTemplate == "" {
		return nil, fmt.Errorf("chat: %s %w: neither tokenizer_config.json nor chat_template.jinja", dir, ErrNoTemplate)
	}
	t, err := New(c.ChatTemplate, map[string]string{"bos_token": c.BOS, "eos_token": c.EOS, "pad_token": c.PAD})
	if err != nil {
		return nil, fmt.Errorf("chat: template of %s: %w", dir, err)
	}
	return t, nil
}

// New parses a template as Hugging Face does: Jinja with loop controls, trim_blocks and lstrip_blocks. Specials are
// variables of the template; bos_token and eos_token are always there, empty where there is none.
func New(source string, specials map[string]string) (*Template, error) {
	if strings.TrimSpace(source) == "" {
		return nil, ErrNoTemplate
	}
	settings := config.New()
	settings.TrimBlocks = true
	settings.LeftStripBlocks = true
	t := &Template{specials: map[string]string{"bos_token": "", "eos_token": ""}}
	for name, token := range specials {
		t.specials[name] = token
	}
	var err error
	t.root, t.names, err = parseTemplate(source, settings, environment())
	if err != nil {
		return nil, err
	}
	return t, nil
}

// parseTemplate also lists the names in the template that its environment does not have.
func parseTemplate(source string, settings *config.Config, env *exec.Environment) (root *exec.Template, names []string, err error) {
	if len(source) > maxSource {
		return nil, nil, fmt.Errorf("is %d bytes long, want at most %d", len(source), maxSource)
	}
	if err := checkNesting(source, settings); err != nil {
		return nil, nil, err
	}
	err = rescue(func() (err error) {
		root, err = exec.NewTemplate(templateName, settings, only(source), env)
		return err
	})
	if err != nil {
		return nil, nil, errors.New(oneLine(strings.ReplaceAll(err.Error(), source, templateName)))
	}
	seen := map[string]bool{}
	for s := tokens.LexAll(source, settings); !s.End(); s.Next() {
		name := s.Current().Val
		if s.Current().Type == tokens.Name && !seen[name] && !env.Context.Has(name) {
			names = append(names, name)
		}
		seen[name] = true
	}
	return root, names, nil
}

// checkNesting bounds the nesting of brackets and of signs, for which the parser calls itself: it would use up the stack,
// which ends the program.
func checkNesting(source string, settings *config.Config) error {
	depth, signs := 0, 0
	for s := tokens.LexAll(source, settings); !s.End(); s.Next() {
		t := s.Current()
		switch t.Type {
		case tokens.LeftParenthesis, tokens.LeftBracket, tokens.LeftBrace:
			depth++
		case tokens.RightParenthesis, tokens.RightBracket, tokens.RightBrace:
			depth--
		}
		switch t.Type {
		case tokens.Addition, tokens.Subtraction, tokens.Not:
			signs++
		case tokens.Whitespace:
		default:
			signs = 0
		}
		if max(depth, signs) > maxDepth {
			return fmt.Errorf("line %d: brackets or signs nested deeper than %d", t.Line, maxDepth)
		}
	}
	return nil
}

const templateName = "chat template"

// only is a loader of one template: a template can load no other.
type only string

func (o only) Read(name string) (io.Reader, error) {
	if name != templateName {
		return nil, fmt.Errorf("a chat template cannot load %q", name)
	}
	return strings.NewReader(string(o)), nil
}
func (o only) Resolve(name string) (string, error)    { return name, nil }
func (o only) Inherit(string) (loaders.Loader, error) { return o, nil }

// rescue turns a panic of the engine into an error.
func rescue(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the engine failed: %v", p)
		}
	}()
	return f()
}

// oneLine shortens what the engine says: it begins with where it is and ends with what is wrong.
func oneLine(s string) string {
	const head, tail = 100, 300
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > head+tail {
		s = strings.ToValidUTF8(s[:head], "") + " … " + strings.ToValidUTF8(s[len(s)-tail:], "")
	}
	return s
}

func errMissing(name string) error {
	return fmt.Errorf("chat: the template writes %q, which is undefined", name)
}

// Render writes a conversation as text. With addGenerationPrompt it ends where the assistant's next answer begins.
func (t *Template) Render(messages []Message, addGenerationPrompt bool) (string, error) {
	r := &run{now: t.Now, deadline: time.Now().Add(maxSeconds * time.Second)}
	turns := make(list, len(messages))
	for i, m := range messages {
		turn, err := newTurn(m)
		if err != nil {
			return "", fmt.Errorf("chat: message %d: %w", i, err)
		}
		turns[i] = turn
	}
	data := map[string]any{
		runKey:                  r,
		"messages":              turns,
		"add_generation_prompt": addGenerationPrompt,
		"tools":                 nil,
		"documents":             nil,
	}
	for name, token := range t.specials {
		data[name] = token
	}
	return execute(t.root, t.names, data, r)
}

// execute renders a template with data, in which the names that are not there are missing.
func execute(root *exec.Template, names []string, data map[string]any, r *run) (string, error) {
	for _, name := range names {
		if _, known := data[name]; !known {
			data[name] = missingNamed(name)
		}
	}
	out := &output{run: r}
	err := rescue(func() error { return root.Execute(out, exec.NewContext(data)) })
	switch {
	case r.raised != nil:
		return "", fmt.Errorf("chat: %w", r.raised)
	case err != nil:
		if name, found := firstMissing(err.Error()); found {
			return "", errMissing(name)
		}
		return "", fmt.Errorf("chat: template: %s", oneLine(err.Error()))
	}
	if name, found := firstMissing(out.String()); found {
		return "", errMissing(name)
	}
	return out.String(), nil
}

// output is a builder that ends a rendering that is too long.
type output struct {
	strings.Builder
	run *run
}

func (o *output) Write(p []byte) (int, error) { return o.WriteString(string(p)) }

func (o *output) WriteString(s string) (int, error) {
	if o.Len()+len(s) > maxOutput {
		o.run.raised = fmt.Errorf("the rendered text is longer than %d bytes", maxOutput)
		return 0, o.run.raised
	}
	return o.Builder.WriteString(s)
}

// run is the state of one rendering.
type run struct {
	now      func() time.Time
	deadline time.Time
	steps    int
	depth    int
	raised   error // what ended the rendering
}

// runKey is where the context keeps the run: no name that a template can spell.
const runKey = "the run"

// runOf finds the run of a rendering.
func runOf(c *exec.Context) *run {
	r, _ := c.Get(runKey)
	return r.(*run)
}

// step counts a turn of a loop or a call of a macro.
func (r *run) step() error {
	r.steps++
	if r.steps > maxSteps {
		r.raised = fmt.Errorf("the template does not end: more than %d turns of its loops", maxSteps)
	} else if r.steps%256 == 0 && time.Now().After(r.deadline) {
		r.raised = fmt.Errorf("the template does not end: still running after %d s", maxSeconds)
	}
	return r.raised
}

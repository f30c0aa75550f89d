package launch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/train"
)

// sample continues the recipe's prompts with the model as it is.
func (l *launch) sample(ctx context.Context, p train.Progress, net train.Net, m *autograd.Machine) error {
	tok := l.data.Tokenizer()
	if tok == nil || len(l.recipe.Samples.Prompts) == 0 {
		return nil
	}
	for i, prompt := range l.recipe.Samples.Prompts {
		text, err := l.answer(ctx, tok, net, m, prompt, l.recipe.Seed+uint64(i))
		if err != nil {
			return err
		}
		l.say("sample after step %d:\n%s", p.Global, indent(prompt+text))
	}
	return nil
}

func (l *launch) answer(ctx context.Context, tok tokenizer.Tokenizer, net train.Net, m *autograd.Machine, prompt string, seed uint64) (text string, err error) {
	ids := tok.Encode(prompt)
	e, err := infer.New(net.Decoder, net.Weights, m, infer.Config{Capacity: len(ids) + l.recipe.Samples.MaxTokens, Chunk: 64})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	answer, err := infer.Generate(ctx, e, infer.Request{
		Prompt: ids, MaxTokens: l.recipe.Samples.MaxTokens, End: endTokens(net), Sampling: l.recipe.Samples.Sampling(seed),
	})
	return tok.Decode(answer), err
}

func endTokens(net train.Net) []int32 {
	var end []int32
	for _, id := range net.Decoder.Config.EOS {
		end = append(end, int32(id))
	}
	return end
}

// say tells the console, run.log and W&B.
func (l *launch) say(format string, args ...any) { l.track.Logger().Info(fmt.Sprintf(format, args...)) }

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ")
}

// summary says what the run has reached, from its own measurements, and continues the prompts with the models it leaves.
func (l *launch) summary(ctx context.Context) error {
	told := map[string]bool{}
	for i := len(l.recipe.Stages) - 1; i >= 0; i-- {
		s := l.recipe.Stages[i]
		if told[s.Model] {
			continue
		}
		told[s.Model] = true
		l.say("%s: %s", s.Model, filepath.Join(l.dir, modelsDir, s.Model))
		l.tell(s)
	}
	last := l.recipe.Stages[len(l.recipe.Stages)-1].Model
	net, err := load(filepath.Join(l.dir, modelsDir, last))
	if err != nil {
		return err
	}
	return l.sample(ctx, l.memory.Progress, *net, l.machine)
}

// tell prints a model's held-out measurements: before and after, and how much of the gap to the teacher was closed.
func (l *launch) tell(s train.Stage) {
	before, ok := l.memory.Baseline[s.Model]
	after, there := l.memory.Latest[s.Model]
	if !ok || !there {
		return
	}
	l.say("  held-out loss untrained %.4f, now %.4f", before.Loss, after.Loss)
	if teacher, ok := l.memory.Teacher[s.Model]; ok {
		gap := before.Loss - teacher.Loss
		l.say("  held-out loss of the teacher %.4f: %.1f%% of the gap recovered", teacher.Loss, 100*(before.Loss-after.Loss)/gap)
	}
	if after.KL != nil {
		l.say("  KL to the teacher %.4f, same first choice on %.1f%% of tokens", *after.KL, 100**after.Agreement)
	}
}

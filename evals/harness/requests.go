package harness

import (
	"context"
	"fmt"
	"strings"

	"github.com/gojet/gojet/datasets/chat"
	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/evals/prompt"
	"github.com/gojet/gojet/evals/suite"
)

// item is a document with what is asked about it.
type item struct {
	id       int
	doc      map[string]any
	question prompt.Question
	target   any // as the task has it
	context  string

	scored   []*scored   // choices, then what acc_mutual_info needs; or one; or windows
	prompted []*prompted // one for each repeat
}

// scored is a request for a likelihood and its answer.
type scored struct {
	evals.Scored
	evals.Likelihood
}

// prompted is a request for a text and its answer.
type prompted struct {
	evals.Prompted
	answer string
}

// items reads the documents and makes all requests.
func (j *job) items(ctx context.Context, enc evals.Encoder) (all []*item, documents int, err error) {
	var docs []map[string]any
	if j.Generated != nil {
		docs, err = j.generated(ctx, enc)
	} else {
		docs, err = j.load(ctx, j.test)
	}
	if err != nil {
		return nil, 0, err
	}
	var sampler prompt.Sampler
	if j.shots > 0 && j.Generated == nil {
		if sampler, err = j.sampler(ctx, docs); err != nil {
			return nil, 0, err
		}
	}
	// A question may be among the examples where both are of one split. That of tasks which name neither counts too.
	j.same = firstOf(j.Fewshot.Split, j.FewshotSplit) == j.Test
	for i, doc := range docs[:j.config.limit(len(docs))] {
		if i%64 == 0 && ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		it := &item{id: i, doc: doc}
		if err := j.ask(it, sampler, enc); err != nil {
			return nil, 0, fmt.Errorf("document %d: %w", i, err)
		}
		all = append(all, it)
	}
	return all, len(docs), nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// ask makes the requests about a document.
func (j *job) ask(it *item, sampler prompt.Sampler, enc evals.Encoder) (err error) {
	if it.question, err = j.shape.Fill(it.doc); err != nil {
		return err
	}
	if j.shape.Target != nil {
		if it.target, err = j.shape.Target.Value(it.doc); err != nil {
			return err
		}
	}
	before, err := j.before(it.doc, sampler)
	if err != nil {
		return err
	}
	write := func(choice int) (string, error) {
		return j.config.write(before, j.shape.Ask(it.question, choice))
	}
	switch j.Output {
	case suite.Rolling:
		windows, err := rolling(enc, it.question.Targets[0])
		for _, w := range windows {
			it.scored = append(it.scored, &scored{Scored: w})
		}
		return err
	case suite.MultipleChoice:
		return j.choices(it, enc, write)
	}
	if it.context, err = write(0); err != nil {
		return err
	}
	if j.Output == suite.LogLikelihood {
		return it.score(enc, it.context, it.question.Targets[0])
	}
	for repeat := range max(1, j.Repeats) {
		p, err := fit(enc, j.generate.prompted(it.context, uint64(repeat)+1))
		if err != nil {
			return err
		}
		it.prompted = append(it.prompted, &prompted{Prompted: p})
	}
	return nil
}

func (it *item) score(enc evals.Encoder, context, continuation string) error {
	s, err := pair(enc, context, continuation)
	it.scored = append(it.scored, &scored{Scored: s})
	return err
}

// choices asks for each choice, either behind the question or as what the continuation stands behind.
func (j *job) choices(it *item, enc evals.Encoder, write func(int) (string, error)) (err error) {
	between := j.shape.TargetDelimiter
	if j.config.Chat != nil && !(it.question.Prefix != "" && strings.TrimSpace(it.question.Prefix[len(it.question.Prefix)-1:]) != "") {
		between = ""
	}
	for i, choice := range it.question.Choices {
		if i == 0 || it.question.Contexts {
			if it.context, err = write(i); err != nil {
				return err
			}
		}
		continuation := between + choice
		if it.question.Contexts {
			continuation = between + it.question.Targets[0]
		}
		if err := it.score(enc, it.context, continuation); err != nil {
			return err
		}
	}
	if j.measured(accMutualInfo) {
		for _, choice := range it.question.Choices {
			if err := it.score(enc, "", between+choice); err != nil {
				return err
			}
		}
	}
	return nil
}

// before is what stands before the question: the description and the examples.
func (j *job) before(doc map[string]any, sampler prompt.Sampler) (parts []prompt.Part, err error) {
	description := ""
	if j.describe != nil {
		if description, err = j.describe.Text(doc); err != nil {
			return nil, err
		}
	}
	if head := prompt.Head(j.config.SystemInstruction, description, j.shape.Delimiter); head != "" {
		parts = append(parts, prompt.Part{Text: head, System: true})
	}
	if sampler == nil {
		return parts, nil
	}
	var but map[string]any
	if j.same {
		but = doc
	}
	examples, err := sampler.Sample(j.shots, but)
	if err != nil {
		return nil, err
	}
	for _, e := range examples {
		example, err := j.example.Example(e)
		if err != nil {
			return nil, fmt.Errorf("example: %w", err)
		}
		parts = append(parts, example...)
	}
	return parts, nil
}

// write puts the parts of a prompt together: as plain text, or by the chat template.
func (c Config) write(before, question []prompt.Part) (string, error) {
	parts := append(before[:len(before):len(before)], question...)
	if c.Chat == nil {
		return prompt.Plain(parts), nil
	}
	continued := parts[len(parts)-1].Answer
	messages := prompt.Messages(parts, c.Multiturn)
	if !continued {
		return c.Chat.Render(messages, true)
	}
	// The model goes on with the answer that has begun: everything up to the end of it, without what closes a message.
	last := messages[len(messages)-1].Content
	text, err := c.Chat.Render(messages, false)
	if err != nil {
		return "", err
	}
	at := strings.LastIndex(text, last)
	if at < 0 {
		return "", fmt.Errorf("the chat template changes the beginning of the answer, %q", last)
	}
	return text[:at+len(last)], nil
}

// template is what Chat may be.
type template interface {
	Render(messages []chat.Message, addGenerationPrompt bool) (string, error)
}

package harness

import (
	"fmt"
	"strings"

	"github.com/gojet/gojet/evals"
	"github.com/gojet/gojet/evals/metrics/python"
)

// pair encodes a continuation and what stands before it. White space at the end of the context belongs to the continuation,
// and the continuation's tokens are those that both texts together have beyond the context's own. What is too long
// loses its beginning. Without an encoder only the texts are kept.
func pair(enc evals.Encoder, context, continuation string) (evals.Scored, error) {
	s := evals.Scored{Context: context, Continuation: continuation}
	if enc == nil {
		return s, nil
	}
	if context == "" {
		ids := enc.Encode(continuation)
		s.ContextTokens, s.ContinuationTokens = []int32{enc.Prefix()}, ids
		if len(ids) > 1 && ids[0] == enc.Prefix() {
			s.ContextTokens, s.ContinuationTokens = ids[:1], ids[1:]
		}
	} else {
		head := strings.TrimRightFunc(context, python.IsSpace)
		whole := enc.Encode(context + continuation)
		s.ContextTokens = enc.Encode(head)
		s.ContinuationTokens = whole[min(len(s.ContextTokens), len(whole)):]
		if len(s.ContextTokens) == 0 { // nothing but white space: it is the continuation's
			s.ContextTokens = []int32{enc.Prefix()}
		}
	}
	return cut(s, enc.MaxLength())
}

// cut drops tokens from the beginning of a context that is too long. The last token of the continuation is not read.
func cut(s evals.Scored, most int) (evals.Scored, error) {
	n := len(s.ContinuationTokens)
	if n == 0 {
		return s, fmt.Errorf("the continuation %.60q has no token of its own behind %q", s.Continuation, tail(s.Context))
	}
	if n > most {
		return s, fmt.Errorf("the continuation %.60q has %d tokens, but the model reads %d", s.Continuation, n, most)
	}
	if over := len(s.ContextTokens) + n - (most + 1); over > 0 {
		s.ContextTokens = s.ContextTokens[over:]
	}
	return s, nil
}

func tail(s string) string {
	const most = 40
	if len(s) > most {
		return "… " + strings.ToValidUTF8(s[len(s)-most:], "")
	}
	return s
}

// rolling encodes a text that is scored whole, in windows as long as the model reads: the first stands behind the prefix, each
// other one behind the last token before it and, if it is the shorter last one, more of what came before.
func rolling(enc evals.Encoder, text string) ([]evals.Scored, error) {
	if enc == nil {
		return nil, fmt.Errorf("output_type %s needs the model's tokenizer", "loglikelihood_rolling")
	}
	ids := enc.Encode(text)
	most := enc.MaxLength()
	var windows []evals.Scored
	for done := 0; done < len(ids); {
		if done == 0 {
			n := min(most, len(ids))
			windows = append(windows, evals.Scored{ContextTokens: []int32{enc.Prefix()}, ContinuationTokens: ids[:n]})
			done = n
			continue
		}
		n := min(len(ids)-done, most)
		end := done + n
		windows = append(windows, evals.Scored{ContextTokens: ids[max(0, end-most-1) : end-n], ContinuationTokens: ids[end-n : end]})
		done = end
	}
	return windows, nil
}

// fit encodes what is to be continued. Of a prompt that leaves no room for the answer the beginning is dropped.
func fit(enc evals.Encoder, p evals.Prompted) (evals.Prompted, error) {
	if enc == nil {
		return p, nil
	}
	room := enc.MaxLength() - p.MaxTokens
	if room < 1 {
		return p, fmt.Errorf("an answer of up to %d tokens (max_gen_toks) leaves no room for a prompt: the model reads %d", p.MaxTokens, enc.MaxLength())
	}
	p.Tokens = enc.Encode(p.Prompt)
	if over := len(p.Tokens) - room; over > 0 {
		p.Tokens = p.Tokens[over:]
	}
	if len(p.Tokens) == 0 {
		p.Tokens = []int32{enc.Prefix()}
	}
	return p, nil
}

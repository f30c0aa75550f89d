// Package evals says what an evaluation asks of a model and how answers are judged. The tasks are files of
// evals/suite, evals/harness runs them, evals/records reads their data, and evals/metrics and evals/execute judge.
//
// Prompts, the choice of examples, scoring and aggregation follow lm-evaluation-harness
// (https://github.com/EleutherAI/lm-evaluation-harness), so that figures can be compared.
package evals

import "context"

// Model answers requests. Answers come in the order of the requests, one each. The batches that it is handed are small
// enough to be lost when a run is killed, and large enough to be worth sorting: requests with common prefixes are
// neighbours.
type Model interface {
	// LogLikelihoods returns, for each request, Σ log p(continuation | context) and whether greedy decoding gives just
	// that continuation.
	LogLikelihoods(ctx context.Context, rs []Scored) ([]Likelihood, error)
	// Generate continues prompts. An answer ends before the first of its stop strings, before an end-of-text token, or
	// after MaxTokens.
	Generate(ctx context.Context, rs []Prompted) ([]string, error)
}

// Scored asks for the log-likelihood of a continuation. Where the tokenizer of the model is at hand the tokens are what
// counts: the context has at least one, and together they are at most one more than the model has positions.
// Where it is not, they are nil and the model encodes the texts itself.
type Scored struct {
	Context, Continuation             string
	ContextTokens, ContinuationTokens []int32
}

// Likelihood is the answer to Scored.
type Likelihood struct {
	LogProb float64 `json:"log_prob"`
	Greedy  bool    `json:"greedy"`
}

// Prompted asks for a text that goes on after the prompt.
type Prompted struct {
	Prompt string
	Tokens []int32 // of the prompt, as in Scored
	// Until lists the stop strings. They are no part of the answer.
	Until     []string
	MaxTokens int
	// Temperature 0 takes the most likely token each time. TopP and TopK are 0 where the task says nothing of them.
	Temperature float64
	TopP        float64
	TopK        int
	// Seed differs between requests that are repeated to draw several answers.
	Seed uint64
}

// Encoder is the tokenizer of a model, as far as prompts are concerned.
type Encoder interface {
	// Encode returns the tokens of text, special ones included where it spells them out; nothing is put before it.
	Encode(text string) []int32
	// Prefix is the token that stands before a text without a context: that of the text's beginning, or of its end
	// where there is none.
	Prefix() int32
	// MaxLength is how many tokens the model can read.
	MaxLength() int
}

// Answered is what a metric sees of one document whose answers were generated.
type Answered struct {
	// Doc is the document: a row of the data and the fields that the task adds. Values are nil, bool, int, float64,
	// string, []any and map[string]any.
	Doc map[string]any
	// Answers are the model's, after the filters: one, unless the task repeats its requests and no filter chooses.
	Answers []string
	// Targets are right answers. There is one, or several of which each is right.
	Targets []string
}

// Judge gives the values of a metric for one document by their names: mostly one, with the name of the metric. A metric
// may have several, as pass_at_k gives pass@1 and pass@10.
type Judge func(ctx context.Context, a Answered) (map[string]float64, error)

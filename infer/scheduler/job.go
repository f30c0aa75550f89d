package scheduler

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// job is a request on its way. The loop adds tokens, the caller takes them.
type job struct {
	Request
	ctx     context.Context
	arrived time.Time
	ready   chan struct{} // something is to be taken
	gone    atomic.Bool   // the caller has left

	mu     sync.Mutex
	tokens []Token // chosen and not taken
	done   bool
	finish Finish
	err    error
	usage  Usage

	// The loop's own.
	row    int
	at     int // tokens of the prompt that its row has consumed
	answer int // tokens chosen
	prefix *prefix
	last   [1]int32 // what the row consumes next, behind the prompt
}

func newJob(ctx context.Context, r Request) *job {
	return &job{Request: r, ctx: ctx, arrived: time.Now(), ready: make(chan struct{}, 1), usage: Usage{Prompt: len(r.Prompt)}}
}

// follow hands tokens to the caller until the answer ends.
func (j *job) follow(token func(Token) bool) (Finish, Usage, error) {
	taken := 0
	var batch []Token
	for {
		var done bool
		batch, done = j.take(batch[:0])
		for _, t := range batch {
			if err := j.ctx.Err(); err != nil {
				return "", j.used(taken), err
			}
			if !t.Prompt {
				taken++
			}
			if !token(t) {
				return Stop, j.used(taken), nil
			}
		}
		if done {
			return j.finish, j.used(taken), j.err
		}
		select {
		case <-j.ready:
		case <-j.ctx.Done():
			return "", j.used(taken), j.ctx.Err()
		}
	}
}

// take moves the tokens that have come to batch, and reports whether they are the last.
func (j *job) take(batch []Token) ([]Token, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	batch = append(batch, j.tokens...)
	clear(j.tokens)
	j.tokens = j.tokens[:0]
	return batch, j.done
}

// used is the usage with as many tokens of the answer as the caller has taken.
func (j *job) used(taken int) Usage {
	j.mu.Lock()
	defer j.mu.Unlock()
	u := j.usage
	u.Answer = taken
	return u
}

func (j *job) ended() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.done
}

// left reports whether nobody waits for the job any more.
func (j *job) left() bool { return j.gone.Load() || j.ctx.Err() != nil }

// add passes a token on.
func (j *job) add(t Token) {
	j.mu.Lock()
	if !t.Prompt && j.usage.FirstToken == 0 {
		j.usage.FirstToken = time.Since(j.arrived)
	}
	j.tokens = append(j.tokens, t)
	j.mu.Unlock()
	j.tell()
}

// end closes the answer.
func (j *job) end(f Finish, err error) {
	j.mu.Lock()
	j.done, j.finish, j.err = true, f, err
	j.mu.Unlock()
	j.tell()
}

func (j *job) cached(n int) {
	j.mu.Lock()
	j.usage.Cached += n
	j.mu.Unlock()
}

func (j *job) tell() {
	select {
	case j.ready <- struct{}{}:
	default:
	}
}

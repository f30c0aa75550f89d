package scheduler

import (
	"fmt"
	"slices"

	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/sampling"
)

// loop is the goroutine that owns the engine.
type loop struct {
	*Scheduler
	prefixes *prefixes
	free     []int  // rows
	active   []*job // in the order in which they came
	parts    []infer.Part
	doing    []*job // by part
	claimed  []claim
	counted  Stats // since the last report
}

// claim is a piece of a prompt that this step computes: others that go on alike wait for it.
type claim struct {
	after *prefix
	ids   []int32
}

func newLoop(s *Scheduler) *loop {
	l := &loop{Scheduler: s, prefixes: newPrefixes(s.engine, s.config.CacheBytes)}
	for row := s.engine.Rows() - 1; row >= 0; row-- {
		l.free = append(l.free, row)
	}
	return l
}

func (l *loop) serve() {
	defer close(l.stopped)
	for l.admit() {
		if len(l.active) == 0 {
			<-l.wake
			continue
		}
		l.step()
	}
	l.prefixes.clear()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report(0)
}

// admit drops jobs whose callers have left, gives rows to those that wait, and reports whether there is more to do.
func (l *loop) admit() bool {
	l.active = slices.DeleteFunc(l.active, func(j *job) bool {
		if !j.left() {
			return false
		}
		if err := j.ctx.Err(); err != nil {
			l.counted.Cancelled++
			l.release(j, "", err)
		} else { // the caller has enough
			l.counted.Finished++
			l.release(j, Stop, nil)
		}
		return true
	})
	l.mu.Lock()
	if l.abort {
		l.cancelAll()
	}
	var started []*job
	for len(l.queue) > 0 && len(l.free) > len(started) {
		started = append(started, l.queue[0])
		l.queue[0] = nil
		l.queue = l.queue[1:]
	}
	more := !l.closing || len(l.active)+len(started) > 0
	l.report(len(l.active) + len(started))
	l.mu.Unlock()
	for _, j := range started {
		l.start(j)
	}
	return more
}

// cancelAll ends everything, with the lock held.
func (l *loop) cancelAll() {
	for _, j := range l.queue {
		l.within.Add(-1)
		j.end("", ErrClosed)
	}
	for _, j := range l.active {
		l.release(j, "", ErrClosed)
	}
	l.counted.Cancelled += int64(len(l.queue) + len(l.active))
	l.queue, l.active = nil, l.active[:0]
}

// report adds what was counted to the statistics, with the lock held.
func (l *loop) report(running int) {
	s, c := &l.stats, &l.counted
	s.Running = running
	s.Finished += c.Finished
	s.Cancelled += c.Cancelled
	s.Failed += c.Failed
	s.PromptTokens += c.PromptTokens
	s.CachedTokens += c.CachedTokens
	s.AnswerTokens += c.AnswerTokens
	s.Steps += c.Steps
	s.CacheBytes, s.CacheEntries = l.prefixes.bytes, l.prefixes.entries
	*c = Stats{}
}

// start gives a job a row.
func (l *loop) start(j *job) {
	j.row = l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	l.engine.ResetRow(j.row)
	j.prefix = l.prefixes.root
	l.active = append(l.active, j)
	if err := l.engine.Sample(j.row, j.Sampling, j.Prompt); err != nil {
		l.finish(j, "", err)
	}
}

// release takes the row back.
func (l *loop) release(j *job, f Finish, err error) {
	l.free = append(l.free, j.row)
	l.within.Add(-1)
	j.end(f, err)
}

// finish ends a job that is active.
func (l *loop) finish(j *job, f Finish, err error) {
	if err != nil {
		l.counted.Failed++
	} else {
		l.counted.Finished++
	}
	l.active = slices.DeleteFunc(l.active, func(a *job) bool { return a == j })
	l.release(j, f, err)
}

// fail ends all jobs: the engine cannot tell what their rows have consumed.
func (l *loop) fail(err error) {
	for len(l.active) > 0 {
		l.finish(l.active[0], "", fmt.Errorf("scheduler: %w", err))
	}
}

// step continues every answer by a token, and prompts by one run.
func (l *loop) step() {
	ids, err := l.advance()
	if err != nil {
		l.fail(err)
		return
	}
	if len(ids) == 0 {
		return
	}
	l.counted.Steps++
	// The prefixes first: a choice from kept logits would replace those of this call.
	for i, j := range l.doing {
		if j.at < len(j.Prompt) {
			if err := l.consumed(j, i); err != nil {
				l.fail(err)
				return
			}
		}
	}
	for i, j := range l.doing {
		if !l.parts[i].Choose {
			if j.at == len(j.Prompt) {
				l.finish(j, Length, nil)
			}
			continue
		}
		var logits []float32
		if j.LogProbs >= 0 {
			if logits, err = l.engine.Logits(i); err != nil {
				l.fail(err)
				return
			}
			logits = logits[len(logits)-l.vocab:]
		}
		l.chosen(j, ids[i], logits)
	}
}

// advance plans the parts of a step and computes them.
func (l *loop) advance() ([]int32, error) {
	if err := l.plan(); err != nil || len(l.parts) == 0 {
		return nil, err
	}
	return l.engine.Advance(l.parts)
}

// plan sets the parts of a step.
func (l *loop) plan() error {
	l.parts, l.doing, l.claimed = l.parts[:0], l.doing[:0], l.claimed[:0]
	room := l.engine.Chunk()
	for _, j := range slices.Clone(l.active) { // one that begins with a kept choice may end at once
		if j.at == len(j.Prompt) {
			l.continues(j)
			continue
		}
		if err := l.reuse(j); err != nil {
			return err
		}
		if j.at == len(j.Prompt) {
			continue // its first token was chosen from what is kept
		}
		n := l.engine.Piece(j.row, len(j.Prompt)-j.at)
		ids := j.Prompt[j.at : j.at+n]
		if n > 1 && n > room || !l.claim(j, ids) {
			continue
		}
		if n > 1 {
			room -= n
		}
		p := infer.Part{Row: j.row, IDs: ids, Choose: j.at+n == len(j.Prompt) && j.MaxTokens > 0}
		switch {
		case j.PromptLogProbs:
			p.Asked = n
		case p.Choose && j.LogProbs >= 0:
			p.Asked = 1
		}
		l.parts, l.doing = append(l.parts, p), append(l.doing, j)
	}
	return nil
}

// continues plans the next token of an answer.
func (l *loop) continues(j *job) {
	p := infer.Part{Row: j.row, IDs: j.last[:], Choose: true}
	if j.LogProbs >= 0 {
		p.Asked = 1
	}
	l.parts, l.doing = append(l.parts, p), append(l.doing, j)
}

// claim reports whether a job may compute a piece: not while another computes the same one, which will be kept.
func (l *loop) claim(j *job, ids []int32) bool {
	if !l.prefixes.keeps() || j.PromptLogProbs {
		return true
	}
	for _, c := range l.claimed {
		if c.after == j.prefix && slices.Equal(c.ids, ids) {
			return false
		}
	}
	if j.prefix != nil {
		l.claimed = append(l.claimed, claim{j.prefix, ids})
	}
	return true
}

// reuse takes a job as far as kept prefixes go.
func (l *loop) reuse(j *job) error {
	if j.PromptLogProbs {
		return nil
	}
	found := l.prefixes.find(j.prefix, j.Prompt[j.at:], l.engine.Chunk())
	if len(found) == 0 {
		return nil
	}
	last := found[len(found)-1]
	if err := l.prefixes.restore(j.row, found); err != nil {
		return err
	}
	n := last.snapshot.To - j.at
	j.at, j.prefix = j.at+n, last
	j.cached(n)
	l.counted.CachedTokens += int64(n)
	if j.at < len(j.Prompt) {
		return nil
	}
	id, err := l.engine.Choose(j.row)
	if err != nil {
		l.finish(j, "", fmt.Errorf("scheduler: %w", err))
		return nil
	}
	var logits []float32
	if j.LogProbs >= 0 {
		if logits, err = l.engine.LastLogits(j.row); err != nil {
			return err
		}
	}
	l.chosen(j, id, logits)
	return nil
}

// consumed notes that a job's prompt has gone on by part i of the step, and keeps the state.
func (l *loop) consumed(j *job, i int) error {
	p := &l.parts[i]
	if j.PromptLogProbs {
		if err := l.echo(j, i); err != nil {
			return err
		}
	}
	from := j.at
	j.at += len(p.IDs)
	l.counted.PromptTokens += int64(len(p.IDs))
	return l.prefixes.keep(j, from, p.Choose)
}

// echo passes the prompt's tokens after those of part i on.
func (l *loop) echo(j *job, i int) error {
	logits, err := l.engine.Logits(i)
	if err != nil {
		return err
	}
	for k := range l.parts[i].IDs {
		if j.at+k+1 == len(j.Prompt) {
			break
		}
		t := Token{ID: j.Prompt[j.at+k+1], Prompt: true}
		if err := rank(&t, logits[k*l.vocab:(k+1)*l.vocab], j.LogProbs); err != nil {
			return err
		}
		j.add(t)
	}
	return nil
}

// rank fills in a token's log-probability and the n likeliest tokens.
func rank(t *Token, logits []float32, n int) error {
	d, err := sampling.NewDistribution(logits)
	if err != nil {
		return fmt.Errorf("scheduler: %w", err)
	}
	t.LogProb = float32(d.LogProb(t.ID))
	if n > 0 {
		t.Top = d.Top(n)
	}
	return nil
}

// chosen passes a token of an answer on, or ends the answer.
func (l *loop) chosen(j *job, id int32, logits []float32) {
	switch {
	case id < 0:
		l.finish(j, "", fmt.Errorf("scheduler: %w", &infer.NoTokenError{Row: j.row}))
		return
	case slices.Contains(j.End, id):
		l.finish(j, Stop, nil)
		return
	}
	t := Token{ID: id}
	if logits != nil {
		if err := rank(&t, logits, j.LogProbs); err != nil {
			l.finish(j, "", err)
			return
		}
	}
	j.add(t)
	j.last[0] = id
	l.counted.AnswerTokens++
	if j.answer++; j.answer == j.MaxTokens {
		l.finish(j, Length, nil)
	}
}

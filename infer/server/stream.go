package server

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// style is how one of the two kinds of answers looks.
type style interface {
	// whole is the reply that is not streamed.
	whole(all []collected, u *usage) any
	// opening is what a streamed answer begins with, nil for nothing.
	opening(index int) any
	// chunk is a piece of a streamed answer.
	chunk(d delta) any
	// closing is the chunk that tells the usage.
	closing(u *usage) any
}

// heartbeat is how long a stream stays silent: proxies end connections that do.
const heartbeat = 15 * time.Second

// stream sends answers as server-sent events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	write   time.Duration // for one write
	buffer  []byte
	begun   bool // the header is out
}

// add puts an event into the buffer.
func (t *stream) add(event any) error {
	text, err := json.Marshal(event)
	if err == nil {
		t.raw(text)
	}
	return err
}

func (t *stream) raw(data []byte) {
	t.buffer = append(append(append(t.buffer, "data: "...), data...), "\n\n"...)
}

// flush sends the buffer. A client that does not take it in time is given up.
func (t *stream) flush() error {
	if !t.begun {
		h := t.w.Header()
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no") // a proxy passes every event on at once
		t.w.WriteHeader(http.StatusOK)
		t.begun = true
	}
	_ = t.control.SetWriteDeadline(time.Now().Add(t.write)) // a test's recorder has none
	if _, err := t.w.Write(t.buffer); err != nil {
		return err
	}
	t.buffer = t.buffer[:0]
	return t.control.Flush()
}

// stream runs the answers and sends every piece as it comes. The generator waits for nobody: what it produces lies in its own
// memory until this goroutine takes it.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, answers []*answer, x style, withUsage bool, n int) error {
	ctx, cancel := context.WithCancel(ctx)
	deltas, failed := make(chan delta, 64), make(chan error, 1)
	go func() {
		failed <- s.run(ctx, answers, func(ctx context.Context, d delta) bool {
			select {
			case deltas <- d:
				return true
			case <-ctx.Done():
				return false
			}
		})
		close(deltas)
	}()
	t := &stream{w: w, control: http.NewResponseController(w), write: s.limits.Write}
	err := t.send(deltas, x, make([]bool, len(answers)))
	cancel()
	for range deltas { // until the last answer has ended
	}
	if err != nil {
		return errGone
	}
	if err := <-failed; err != nil {
		return t.fail(err)
	}
	if withUsage {
		if err := t.add(x.closing(total(answers, n))); err != nil {
			return err
		}
	}
	t.raw([]byte("[DONE]"))
	if t.flush() != nil {
		return errGone
	}
	return nil
}

// send writes deltas until there are no more. All that wait go out in one write.
func (t *stream) send(deltas <-chan delta, x style, opened []bool) error {
	silence := time.NewTimer(heartbeat)
	defer silence.Stop()
	for {
		select {
		case d, more := <-deltas:
			for again := true; again && more; {
				if err := t.delta(d, x, opened); err != nil {
					return err
				}
				select {
				case d, more = <-deltas:
				default:
					again = false
				}
			}
			if len(t.buffer) > 0 {
				if err := t.flush(); err != nil {
					return err
				}
			}
			if !more {
				return nil
			}
		case <-silence.C:
			t.buffer = append(t.buffer, ": still here\n\n"...)
			if err := t.flush(); err != nil {
				return err
			}
		}
		silence.Reset(heartbeat)
	}
}

func (t *stream) delta(d delta, x style, opened []bool) error {
	if !opened[d.index] {
		opened[d.index] = true
		if first := x.opening(d.index); first != nil {
			if err := t.add(first); err != nil {
				return err
			}
		}
	}
	return t.add(x.chunk(d))
}

// fail tells of an error: as the reply while there is none, then as an event.
func (t *stream) fail(err error) error {
	if !t.begun {
		return err
	}
	e := asAPI(err)
	t.raw(e.body())
	if t.flush() != nil {
		return errGone
	}
	return &sentError{e}
}

// sentError has reached the client within its stream.
type sentError struct{ *apiError }

func (e *sentError) Unwrap() error { return e.apiError }

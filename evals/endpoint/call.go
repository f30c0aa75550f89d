package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	mostBytes   = 512 << 20 // of an answer
	mostMessage = 400       // bytes of what the server says of an error
	mostWait    = 2 * time.Minute
)

// Error is a server's refusal.
type Error struct {
	URL     string
	Status  int
	Message string
	after   time.Duration // to wait, if the server says
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %d %s", e.URL, e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// passing tells whether it is worth asking again.
func passing(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return !errors.As(err, new(answerError))
	}
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout || e.Status >= 500 && e.Status != http.StatusNotImplemented
}

// answerError is about an answer that is not as it should be.
type answerError struct{ error }

// call sends a request as often as it takes and reads the answer into out.
func (m *Model) call(ctx context.Context, method, path string, body, out any) error {
	var sent []byte
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return fmt.Errorf("endpoint: %w", err)
		}
	}
	pause := m.cfg.Pause
	for attempt := 1; ; attempt++ {
		err := m.once(ctx, method, path, sent, out)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !passing(err):
			return fmt.Errorf("endpoint: %w", err)
		case attempt == m.cfg.Attempts:
			return fmt.Errorf("endpoint: %w (attempt %d of %d)", err, attempt, m.cfg.Attempts)
		}
		// Neither all at the same time, nor before the server wants.
		wait := pause/2 + time.Duration(rand.Float64()*float64(pause/2))
		var refusal *Error
		if errors.As(err, &refusal) {
			wait = max(wait, min(refusal.after, mostWait))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pause = min(2*pause, m.cfg.MaxPause)
	}
}

// once is one attempt.
func (m *Model) once(ctx context.Context, method, path string, sent []byte, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, m.cfg.Timeout, fmt.Errorf("no answer within %v", m.cfg.Timeout))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, m.base+path, bytes.NewReader(sent))
	if err != nil {
		return answerError{err}
	}
	shown := r.URL.Redacted()
	if sent != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if m.key != "" {
		r.Header.Set("Authorization", "Bearer "+m.key)
	}
	res, err := m.client.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", shown, cause(ctx, err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return refusal(shown, res)
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, mostBytes+1))
	if err != nil {
		return fmt.Errorf("%s: %w", shown, cause(ctx, err))
	}
	if len(answer) > mostBytes {
		return answerError{fmt.Errorf("%s: an answer of more than %d bytes", shown, mostBytes)}
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return answerError{fmt.Errorf("%s: the answer is not the JSON that is expected: %w: %s", shown, err, brief(answer))}
	}
	return nil
}

// cause prefers our own reason for giving up, and leaves out the URL, which stands before it.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// refusal reads what the server says: {"error": {"message": …}}, {"message": …}, {"detail": …} or any text.
func refusal(shown string, res *http.Response) *Error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	e := &Error{URL: shown, Status: res.StatusCode, Message: brief(body)}
	var said struct {
		Error   any    `json:"error"`
		Message string `json:"message"`
		Detail  any    `json:"detail"`
	}
	if json.Unmarshal(body, &said) == nil {
		inner, _ := said.Error.(map[string]any)
		for _, text := range []any{inner["message"], said.Error, said.Message, said.Detail} {
			if s, ok := text.(string); ok && s != "" {
				e.Message = brief([]byte(s))
				break
			}
		}
	}
	if seconds, err := strconv.ParseFloat(res.Header.Get("Retry-After"), 64); err == nil && seconds > 0 && seconds < 1e6 {
		e.after = time.Duration(seconds * float64(time.Second))
	}
	return e
}

// brief is a text in one line.
func brief(text []byte) string {
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "�")), " ")
	if len(s) > mostMessage {
		s = strings.ToValidUTF8(s[:mostMessage], "") + " …"
	}
	return s
}

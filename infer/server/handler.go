package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler returns the whole API.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	add := func(path, method string, open bool, h func(http.ResponseWriter, *http.Request) error) {
		mux.Handle(path, s.route(path, method, open, h))
	}
	add("/v1/completions", http.MethodPost, false, s.complete)
	add("/v1/chat/completions", http.MethodPost, false, s.converse)
	add("/v1/models", http.MethodGet, false, s.models)
	add("/v1/models/{name...}", http.MethodGet, false, s.oneModel)
	scrape := promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{})
	add("/metrics", http.MethodGet, false, func(w http.ResponseWriter, r *http.Request) error {
		scrape.ServeHTTP(w, r)
		return nil
	})
	add("/health", http.MethodGet, true, s.health)
	add("/{$}", http.MethodGet, true, s.page)
	add("/", "", true, func(_ http.ResponseWriter, r *http.Request) error {
		return newError(http.StatusNotFound, typeNotFound, "unknown_url", "there is nothing at %s %s", r.Method, r.URL.Path)
	})
	return mux
}

// route is a handler with what all have in common: the method, the key, errors, deadlines, the log and the counts.
func (s *Server) route(path, method string, open bool, h func(http.ResponseWriter, *http.Request) error) http.Handler {
	name := strings.TrimSuffix(path, "{$}")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun, c := time.Now(), &counted{ResponseWriter: w}
		// A connection that is used again still has the deadline of the last write.
		_ = http.NewResponseController(w).SetWriteDeadline(begun.Add(s.limits.Body + s.limits.Request + s.limits.Write)) // a test's recorder has none
		err := s.admit(c, r, method, open, h)
		status := c.status
		if err != nil {
			status = s.tell(c, err)
		}
		took := time.Since(begun)
		s.metrics.request(name, status, took)
		level := slog.LevelDebug
		if method == http.MethodPost || status >= 400 {
			level = slog.LevelInfo
		}
		attrs := []slog.Attr{slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", status), slog.Duration("took", took),
			slog.String("client", r.RemoteAddr)}
		if id := w.Header().Get(idHeader); id != "" {
			attrs = append(attrs, slog.String("id", id))
		}
		if err != nil {
			attrs = append(attrs, slog.String("error", err.Error()))
		}
		s.log.LogAttrs(context.WithoutCancel(r.Context()), level, "request", attrs...)
	})
}

// idHeader carries the id of an answer.
const idHeader = "X-Request-Id"

// admit calls the handler if the request may. A panic in it is an error of this request alone.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, method string, open bool, h func(http.ResponseWriter, *http.Request) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic", "what", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("it panicked; its log says more")
		}
	}()
	if method != "" && r.Method != method && !(method == http.MethodGet && r.Method == http.MethodHead) {
		w.Header().Set("Allow", method)
		return newError(http.StatusMethodNotAllowed, typeInvalid, "method_not_allowed", "%s takes %s, not %s", r.URL.Path, method, r.Method)
	}
	if !open && !s.authorised(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return newError(http.StatusUnauthorized, typeAuth, "invalid_api_key", "this server wants its API key: Authorization: Bearer KEY")
	}
	return h(w, r)
}

// authorised compares hashes, so that the time tells nothing of the key or its length.
func (s *Server) authorised(r *http.Request) bool {
	if s.key == nil {
		return true
	}
	kind, shown, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(shown)))
	return subtle.ConstantTimeCompare(sum[:], s.key[:]) == 1 && strings.EqualFold(kind, "Bearer")
}

// tell writes an error, unless the client has left or has it in its stream. It returns the status for the log.
func (s *Server) tell(w *counted, err error) int {
	var sent *sentError
	if errors.As(err, &sent) {
		return sent.status
	}
	e := asAPI(err)
	if e.status == statusGone || w.status != 0 {
		return e.status
	}
	if e.status == http.StatusTooManyRequests || e.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	_ = s.write(w, e.status, e.body()) // the log has the status either way
	return e.status
}

// write sends a whole reply as JSON, in pieces with a deadline each.
func (s *Server) write(w http.ResponseWriter, status int, body []byte) error {
	const piece = 64 << 10
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(status)
	for len(body) > 0 {
		_ = control.SetWriteDeadline(time.Now().Add(s.limits.Write)) // a test's recorder has none
		n, err := w.Write(body[:min(piece, len(body))])
		if err != nil {
			return errGone
		}
		body = body[n:]
	}
	return nil
}

func (s *Server) writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write(w, status, body)
}

// counted remembers the status.
type counted struct {
	http.ResponseWriter
	status int
}

func (c *counted) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return c.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// read takes the body into fields and then calls prepare, which encodes the prompt. That costs processor time, so that few
// requests at a time do it.
func (s *Server) read(w http.ResponseWriter, r *http.Request, fields any, prepare func() error) error {
	if s.isDraining() {
		return draining()
	}
	body, err := s.body(w, r)
	if err != nil {
		return err
	}
	select {
	case s.preparing <- struct{}{}:
		defer func() { <-s.preparing }()
	case <-r.Context().Done():
		return errGone
	}
	if err := parse(body, fields); err != nil {
		return err
	}
	return prepare()
}

func (s *Server) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	kind := r.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
		return nil, newError(http.StatusUnsupportedMediaType, typeInvalid, "unsupported_media_type", "the Content-Type is %q, want application/json", kind)
	}
	large := newError(http.StatusRequestEntityTooLarge, typeInvalid, "body_too_large", "the body has more than the %d bytes that this server takes", s.limits.BodyBytes)
	if r.ContentLength > s.limits.BodyBytes {
		w.Header().Set("Connection", "close") // rather than read it all
		return nil, large
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(s.limits.Body)) // a test's recorder has none
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.limits.BodyBytes))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, large
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, newError(http.StatusRequestTimeout, typeInvalid, "body_timeout", "the body did not come within %v", s.limits.Body)
	case err != nil:
		return nil, errGone
	}
	// From here on the server reads to learn of a client that leaves; that may take any time.
	_ = control.SetReadDeadline(time.Time{}) // a test's recorder has none
	return body, nil
}

// known reports a model that is not this one. A request may leave the name out.
func (s *Server) known(name string) error {
	if name == "" || slices.Contains(s.model.Names, name) {
		return nil
	}
	e := newError(http.StatusNotFound, typeNotFound, "model_not_found", "there is no model %q here, want %q", name, s.model.Names[0])
	param := "model"
	e.Param = &param
	return e
}

// answer runs the answers to a request and writes them in the style asked for.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, answers []*answer, x style, q *settings, id string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	w.Header().Set(idHeader, id)
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Request)
	defer cancel()
	var err error
	if q.Stream {
		err = s.stream(ctx, w, answers, x, q.StreamOptions != nil && q.StreamOptions.IncludeUsage, q.N)
	} else {
		var all []collected
		if all, err = s.collect(ctx, answers); err == nil {
			err = s.writeJSON(w, http.StatusOK, x.whole(all, total(answers, q.N)))
		}
	}
	return err
}

type modelEntry struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
	Length  int    `json:"max_model_len"`
	Chat    bool   `json:"chat"` // it has a chat template
}

func (s *Server) entry(name string) modelEntry {
	return modelEntry{name, "model", s.model.Created.Unix(), "gojet", s.model.Length, s.model.Chat != nil}
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) error {
	list := make([]modelEntry, len(s.model.Names))
	for i, name := range s.model.Names {
		list[i] = s.entry(name)
	}
	return s.writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": list})
}

func (s *Server) oneModel(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if err := s.known(name); err != nil {
		return err
	}
	return s.writeJSON(w, http.StatusOK, s.entry(name))
}

// health is 200 while requests are taken.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) error {
	if s.isDraining() {
		return s.writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "draining"})
	}
	return s.writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

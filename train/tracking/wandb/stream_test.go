package wandb

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// service stands in for W&B's.
type service struct {
	t    *testing.T
	fail func(n int, w http.ResponseWriter, r *http.Request) bool // answers the n-th request itself

	mu         sync.Mutex
	requests   int
	lines      int // of history that it had before
	variables  map[string]any
	files      map[string][]string
	heartbeats int
	complete   bool
	exit       int
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n := s.requests
	s.requests++
	s.mu.Unlock()
	if s.fail != nil && s.fail(n, w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if user, key, ok := r.BasicAuth(); r.Method != http.MethodPost || !ok || user != "api" || key != "secret" {
		s.t.Errorf("%s %s with key %q", r.Method, r.URL, key)
	}
	var body struct {
		Query     string
		Variables map[string]any
		Files     map[string]struct {
			Offset  *int
			Content []string
		}
		Complete *bool
		Exitcode int
	}
	data, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(data, &body); err != nil {
		s.t.Errorf("body %s: %v", data, err)
	}
	switch r.URL.Path {
	case "/graphql":
		s.variables = body.Variables
		if !strings.Contains(body.Query, "upsertBucket(") {
			s.t.Errorf("query %s", body.Query)
		}
		fmt.Fprintf(w, `{"data":{"upsertBucket":{"bucket":{"name":"abc","project":{"name":"the project","entity":{"name":"team"}},"historyLineCount":%d,"logLineCount":0},"inserted":true}}}`, s.lines)
		return
	case "/files/team/the project/abc/file_stream":
	default:
		s.t.Errorf("address %s", r.URL)
	}
	if s.files == nil {
		s.files = map[string][]string{}
	}
	for name, f := range body.Files {
		switch before := len(s.files[name]); {
		case f.Offset == nil:
			s.t.Errorf("%s without an offset", name)
		case name == "wandb-summary.json":
			s.files[name] = f.Content
		case name == "wandb-history.jsonl" && *f.Offset != before+s.lines || name == "output.log" && *f.Offset != before:
			s.t.Errorf("%s: offset %d after %d lines", name, *f.Offset, before)
		default:
			s.files[name] = append(s.files[name], f.Content...)
		}
	}
	if body.Files == nil && body.Complete == nil {
		s.t.Errorf("body %s", data)
	}
	if body.Complete != nil && *body.Complete {
		s.complete, s.exit = true, body.Exitcode
	} else if body.Complete != nil {
		s.heartbeats++
	}
	fmt.Fprint(w, "garbage that nobody asked for")
}

// steps of the rows that the service got.
func (s *service) steps() (steps []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.files["wandb-history.jsonl"] {
		var row struct {
			Step int `json:"_step"`
		}
		if err := json.Unmarshal([]byte(strings.ReplaceAll(line, "NaN", "0")), &row); err != nil {
			s.t.Errorf("row %s: %v", line, err)
		}
		steps = append(steps, row.Step)
	}
	return steps
}

// quick is a conversation in a hurry.
var quick = timing{
	send: 5 * time.Millisecond, heartbeat: 15 * time.Millisecond, request: 200 * time.Millisecond,
	retry: 2 * time.Millisecond, slowest: 20 * time.Millisecond, finish: 2 * time.Second,
}

// online opens a run that talks to the service. Its warnings go to the log, and come back as output.
func online(t *testing.T, handler http.Handler, s Settings, t1 timing) (*Run, *messages) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	s.Mode, s.BaseURL, s.APIKey = Offline, server.URL+"/", "secret"
	m := &messages{}
	log := slog.New(slog.NewTextHandler(m, nil))
	r, err := Open(s, log)
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.run = r
	m.mu.Unlock()
	config, err := configOf(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	before := content(t, r.Dir())
	r.speak(s, config, &before, log, t1)
	return r, m
}

// speak begins a conversation; its warnings may come to the run at once.
func (r *Run) speak(s Settings, config []entry, before *written, log *slog.Logger, t timing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stream = startStream(s, config, before, log, t)
}

// messages is a log.
type messages struct {
	mu   sync.Mutex
	text strings.Builder
	run  *Run
}

func (m *messages) Write(p []byte) (int, error) {
	m.mu.Lock()
	m.text.Write(p)
	run := m.run
	m.mu.Unlock()
	return run.Write(p)
}

func (m *messages) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.String()
}

func TestOnline(t *testing.T) {
	s := &service{t: t}
	set := settings(t)
	set.Entity, set.Tags = "team", []string{"x"}
	r, log := online(t, s, set, quick)
	for step := 1; step <= 50; step++ {
		r.Log(step, items(step))
		if step%10 == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	fmt.Fprintln(r, "printed")
	time.Sleep(60 * time.Millisecond) // for a heartbeat
	if err := r.Close(7); err != nil {
		t.Fatal(err)
	}
	steps := s.steps()
	if len(steps) != 50 || !slices.IsSorted(steps) || !s.complete || s.exit != 7 || s.heartbeats == 0 || log.String() != "" {
		t.Errorf("steps %v, complete %v with %d, %d heartbeats, log %s", steps, s.complete, s.exit, s.heartbeats, log)
	}
	for name, want := range map[string]any{"name": "abc", "displayName": "a run", "entity": "team", "config": `{"lr":{"value":0.00001}}`, "groupName": nil} {
		if got := s.variables[name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := s.files["wandb-summary.json"]; len(got) != 1 || !strings.Contains(got[0], `"_step":50,`) {
		t.Errorf("summary %q", got)
	}
	if got := s.files["output.log"]; len(got) != 1 || !strings.HasSuffix(got[0], " printed") {
		t.Errorf("output %q", got)
	}
}

// TestTrouble: whatever the service does, Log is quick, the run's file is whole, and what can be sent is.
func TestTrouble(t *testing.T) {
	status := func(code int) func(int, http.ResponseWriter, *http.Request) bool {
		return func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "no \xff\nthanks", code)
			return true
		}
	}
	until := func(n int, fail func(int, http.ResponseWriter, *http.Request) bool) func(int, http.ResponseWriter, *http.Request) bool {
		return func(i int, w http.ResponseWriter, r *http.Request) bool { return i < n && fail(i, w, r) }
	}
	answer := func(body string) func(int, http.ResponseWriter, *http.Request) bool {
		return func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprint(w, body)
			return true
		}
	}
	hang := func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		return true
	}
	dropped := func(int, http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
	endless := func(_ int, w http.ResponseWriter, r *http.Request) bool {
		for r.Context().Err() == nil {
			w.Write(make([]byte, 1<<16))
		}
		return true
	}
	middle := func(fail func(int, http.ResponseWriter, *http.Request) bool) func(int, http.ResponseWriter, *http.Request) bool {
		return func(i int, w http.ResponseWriter, r *http.Request) bool { return i >= 1 && i < 4 && fail(i, w, r) }
	}
	for _, c := range []struct {
		name string
		fail func(int, http.ResponseWriter, *http.Request) bool
		all  bool   // all rows arrive
		log  string // what is warned of
	}{
		{"out of order at first", until(5, status(500)), true, "trying again"},
		{"too many requests", until(3, status(429)), true, "429"},
		{"out of order in between", middle(status(503)), true, "503"},
		{"dropped at first", until(3, dropped), true, "trying again"},
		{"dropped in between", middle(dropped), true, "trying again"},
		{"slow at first", until(1, hang), true, "trying again"},
		{"garbage at first", until(2, answer("<html>")), true, "not understood"},
		{"empty answers at first", until(2, answer("")), true, "not understood"},
		{"an answer without the run", until(1, answer(`{"data":null}`)), true, "without the run"},
		{"an answer without names", until(1, answer(`{"data":{"upsertBucket":{"bucket":{"name":"abc"}}}}`)), true, "without the run's name"},
		{"an answer of the wrong type", until(1, answer(`{"data":{"upsertBucket":[]}}`)), true, "not understood"},
		{"out of order", status(502), false, "502"},
		{"key refused", status(401), false, `nothing more is sent" error="401 Unauthorized: \"no �\\nthanks`},
		{"moved for good", status(404), false, "404"},
		{"refused by an answer", answer(`{"errors":[{"message":"no such team"}]}`), false, "no such team"},
		{"silent", hang, false, "trying again"},
		{"endless answers", endless, false, "trying again"},
		{"garbage", answer("\x00\xff{"), false, "not understood"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &service{t: t, fail: c.fail}
			when := quick
			if !c.all {
				when.finish = 100 * time.Millisecond
			}
			r, log := online(t, s, settings(t), when)
			began := time.Now()
			for step := 1; step <= 20; step++ {
				r.Log(step, items(step))
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("20 rows took %v", took)
			}
			time.Sleep(20 * time.Millisecond)
			if err := r.Close(0); err != nil {
				t.Error(err)
			}
			if got := s.steps(); c.all && (len(got) != 20 || !slices.IsSorted(got) || !s.complete) || !c.all && s.complete {
				t.Errorf("the service got %v, complete: %v", got, s.complete)
			}
			if !strings.Contains(log.String(), c.log) || !c.all && !strings.Contains(log.String(), "wandb sync sends it") || strings.Contains(log.String(), "secret") {
				t.Errorf("log:\n%s", log)
			}
			if w := content(t, r.Dir()); w.rows != 20 || !w.ended {
				t.Errorf("the file has %d rows", w.rows)
			}
		})
	}
}

// TestNobodyThere: no service at all.
func TestNobodyThere(t *testing.T) {
	when := quick
	when.finish = 50 * time.Millisecond
	gone := httptest.NewServer(nil)
	address := gone.URL
	gone.Close()
	r, log := online(t, http.NotFoundHandler(), settings(t), quick)
	r.stream.cancel()
	<-r.stream.done
	s := settings(t)
	s.BaseURL = address
	r.speak(s, nil, &written{}, slog.New(slog.NewTextHandler(log, nil)), when)
	r.Log(1, items(1))
	if err := r.Close(0); err != nil || !strings.Contains(log.String(), "refused") {
		t.Errorf("error %v, log:\n%s", err, log)
	}
}

// TestBounded: with the service away, what waits does not grow for ever, and the file has all.
func TestBounded(t *testing.T) {
	var w waiting
	for i := range mostWaiting + 5 {
		w.add(fmt.Sprint(i))
	}
	c := w.chunk()
	if len(w.lines) != mostWaiting || w.lost != 5 || len(c.Content) != mostSent || c.Offset != 0 {
		t.Errorf("%d lines wait, %d lost, %d are sent", len(w.lines), w.lost, len(c.Content))
	}
	w.sent(c)
	if c := w.chunk(); c.Offset != mostSent || c.Content[0] != fmt.Sprint(mostSent) {
		t.Errorf("then line %d: %s", c.Offset, c.Content[0])
	}
	for len(w.lines) > 0 {
		w.sent(w.chunk())
	}
	if w.chunk() != nil || w.offset != mostWaiting {
		t.Errorf("in the end line %d", w.offset)
	}
}

// TestOnlineResume: rows that the service lacks are sent from the run's file, and none twice.
func TestOnlineResume(t *testing.T) {
	for _, has := range []int{0, 6, 10} { // rows at the service; the file has 10
		set := settings(t)
		r := open(t, set)
		for step := 1; step <= 10; step++ {
			r.Log(step, items(step))
		}
		if err := r.Close(1); err != nil {
			t.Fatal(err)
		}
		s := &service{t: t, lines: has}
		set.Resume = true
		again, log := online(t, s, set, quick)
		for step := 8; step <= 12; step++ { // goes on from a checkpoint of step 7
			again.Log(step, items(step))
		}
		if err := again.Close(0); err != nil {
			t.Fatal(err)
		}
		var want []int
		for step := has + 1; step <= 12; step++ {
			want = append(want, step)
		}
		if got := s.steps(); !slices.Equal(got, want) || log.String() != "" {
			t.Errorf("the service had %d rows and got %v, want %v; log %s", has, got, want, log)
		}
	}
}

// TestOpenOnline is the whole way from the settings on.
func TestOpenOnline(t *testing.T) {
	s := &service{t: t}
	server := httptest.NewServer(s)
	defer server.Close()
	set := settings(t)
	set.Mode, set.BaseURL, set.APIKey = Online, server.URL, "secret"
	r := open(t, set)
	r.Log(1, items(1))
	if err := r.Close(0); err != nil {
		t.Fatal(err)
	}
	if got := s.steps(); len(got) != 1 || !s.complete || !strings.HasPrefix(filepath.Base(r.Dir()), "run-2") {
		t.Errorf("steps %v, complete: %v, folder %s", got, s.complete, r.Dir())
	}
	if w := content(t, r.Dir()); w.rows != 1 || !w.ended {
		t.Errorf("the file has %+v", w)
	}
}

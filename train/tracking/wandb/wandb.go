// Package wandb writes runs for Weights & Biases in that service's own formats: as an offline run, which its client
// uploads with "wandb sync", and to the service while the run goes on. What is sent is written too, so that nothing is
// lost with the network.
package wandb

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Modes of a run.
const (
	Online   = "online"
	Offline  = "offline"
	Disabled = "disabled"
)

// Settings of a run. All but Mode and State may be empty: the service then chooses, or there is none.
type Settings struct {
	Mode    string // online, offline or disabled, which is what "" means too
	Project string
	Entity  string // user or team
	Name    string // shown for the run
	Group   string
	JobType string
	Notes   string
	Tags    []string

	Dir     string // its folder wandb takes the files; State where it is ""
	State   string // the run's own folder, where the run's id is kept for its resumption
	RunID   string // chosen at random where it is ""
	BaseURL string // of the service
	APIKey  string
	Config  any      // a struct or map whose JSON form is an object
	Args    []string // of the command
	Resume  bool     // go on with the run that State knows
}

// DefaultBaseURL is where W&B's service is.
const DefaultBaseURL = "https://api.wandb.ai"

// WithEnvironment returns the settings as the environment has them, by the variables of W&B's own clients. It goes
// before a recipe: that is shared, while the environment belongs to the machine and its user.
func (s Settings) WithEnvironment(getenv func(string) string) Settings {
	for name, to := range map[string]*string{
		"WANDB_MODE": &s.Mode, "WANDB_PROJECT": &s.Project, "WANDB_ENTITY": &s.Entity, "WANDB_DIR": &s.Dir,
		"WANDB_RUN_ID": &s.RunID, "WANDB_NAME": &s.Name, "WANDB_BASE_URL": &s.BaseURL, "WANDB_API_KEY": &s.APIKey,
	} {
		if v := getenv(name); v != "" {
			*to = v
		}
	}
	return s
}

// idPattern is what the service takes as the id of a run.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

// Validate reports settings that cannot work.
func (s Settings) Validate() error {
	switch {
	case s.Mode != "" && s.Mode != Online && s.Mode != Offline && s.Mode != Disabled:
		return fmt.Errorf("wandb: mode is %q, want online, offline or disabled", s.Mode)
	case s.RunID != "" && !idPattern.MatchString(s.RunID):
		return fmt.Errorf("wandb: the run's id is %q, want at most 128 letters, digits, \"-\", \"_\" and \".\"", s.RunID)
	case strings.ContainsAny(s.Project, `/\#?%:`):
		return fmt.Errorf(`wandb: project is %q, want a name that has none of /\#?%%: in it`, s.Project)
	case s.Mode == Online && s.APIKey == "":
		return errors.New("wandb: mode is online, but WANDB_API_KEY is not set (with WANDB_MODE=offline, wandb sync uploads the run later)")
	}
	return nil
}

// Run is one run of W&B's. Its methods may be called from several goroutines, and never wait for the network but in
// Close. What goes wrong is a warning in the log: it is no reason to stop a training.
type Run struct {
	mu     sync.Mutex
	log    *slog.Logger
	file   *offline // nil after an error
	failed error    // of file
	warned bool     // of failed
	stream *stream  // nil where the run is offline
	dir    string
	start  time.Time
	before float64 // seconds that the run went on for until it was resumed
	skip   int     // steps up to this one were written before
	buf    []byte  // of output, up to a newline
}

// Item is a key of a row, and its value: a float64 or a string.
type Item struct {
	Key   string
	Value any
}

// Open begins a run, or goes on with it. A disabled run is nil, on which nothing may be called. Warnings go to log.
func Open(s Settings, log *slog.Logger) (*Run, error) {
	if s.Mode == "" || s.Mode == Disabled {
		return nil, s.Validate()
	}
	if s.Dir == "" {
		s.Dir = s.State
	}
	if s.Project == "" {
		s.Project = "gojet"
	}
	if s.BaseURL == "" {
		s.BaseURL = DefaultBaseURL
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	config, err := configOf(s.Config)
	if err != nil {
		return nil, err
	}
	s.RunID, err = s.id()
	if err != nil {
		return nil, err
	}
	r := &Run{log: log, start: time.Now(), skip: -1}
	file, err := openOffline(s, config, r.start)
	if err != nil {
		return nil, err
	}
	r.dir = file.dir
	r.file, r.before, r.skip = file, file.state.runtime, file.state.step
	if s.Mode == Online {
		r.stream = startStream(s, config, &file.state, log, usual)
	}
	file.state.last = nil
	return r, nil
}

// id is that of the settings, else of the run that is resumed, else a new one. It is kept.
func (s Settings) id() (string, error) {
	path := filepath.Join(s.State, "wandb", "run-id")
	id := s.RunID
	if id == "" && s.Resume {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		id = strings.TrimSpace(string(data))
		if id != "" && !idPattern.MatchString(id) {
			return "", fmt.Errorf("%s: %.40q is no id of a run", path, id)
		}
	}
	if id == "" {
		random := make([]byte, 5)
		rand.Read(random) // never fails
		id = strings.ToLower(base32.StdEncoding.EncodeToString(random))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return id, os.WriteFile(path, []byte(id+"\n"), 0o644)
}

// Dir is the folder of the run's files.
func (r *Run) Dir() string { return r.dir }

// runtime is for how many seconds the run goes on, its pauses left out.
func (r *Run) runtime(now time.Time) float64 { return r.before + now.Sub(r.start).Seconds() }

// Log takes a row. Those that were written before the run was resumed are left out: a resumed run repeats them.
func (r *Run) Log(step int, items []Item) {
	defer r.warn()
	r.mu.Lock()
	defer r.mu.Unlock()
	if step <= r.skip {
		return
	}
	now := time.Now()
	row := make([]entry, 0, len(items)+3)
	for _, i := range items {
		row = append(row, entry{i.Key, valueJSON(i.Value)})
	}
	row = append(row, entry{runtimeKey, valueJSON(r.runtime(now))}, entry{stepKey, fmt.Sprint(step)},
		entry{timestampKey, valueJSON(float64(now.UnixMicro()) / 1e6)})
	r.write(func(f *offline) error { return f.history(step, row) })
	if r.stream != nil {
		r.stream.history(row)
	}
}

// write to the file, which is given up after an error.
func (r *Run) write(what func(*offline) error) {
	if r.file == nil {
		return
	}
	if r.failed = what(r.file); r.failed != nil {
		r.file.abandon()
		r.file = nil
	}
}

// warn of an error of the file, once. The log may print into Write, so no lock is held and Write never comes here.
func (r *Run) warn() {
	r.mu.Lock()
	err := r.failed
	if r.warned {
		err = nil
	}
	r.warned = r.warned || err != nil
	r.mu.Unlock()
	if err != nil {
		r.log.Warn("W&B: no more is written to the run's file", "error", err)
	}
}

// longestOutput is where a line of output without an end is broken, in bytes.
const longestOutput = 64 << 10

// Write takes what the run prints, line by line, for output.log.
func (r *Run) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf = append(r.buf, p...)
	for {
		at := bytes.IndexByte(r.buf, '\n')
		if at < 0 && len(r.buf) < longestOutput {
			return len(p), nil
		}
		size, line := at+1, r.buf[:max(0, at)]
		if at < 0 {
			size, line = longestOutput, r.buf[:longestOutput]
		}
		r.output(string(line))
		r.buf = append(r.buf[:0], r.buf[size:]...)
	}
}

func (r *Run) output(line string) {
	now := time.Now()
	line = strings.ToValidUTF8(line, "\ufffd")
	r.write(func(f *offline) error { return f.output(line, now) })
	if r.stream != nil {
		r.stream.output(line, now)
	}
}

// Close ends the run with the exit code of the process, and waits a while for what is still to be sent.
func (r *Run) Close(exit int) error {
	r.mu.Lock()
	if len(r.buf) > 0 {
		r.output(string(r.buf))
		r.buf = nil
	}
	runtime := r.runtime(time.Now())
	r.write(func(f *offline) error { return f.close(exit, runtime) })
	r.file = nil
	stream := r.stream
	r.stream = nil
	r.mu.Unlock()
	r.warn()
	if stream != nil {
		if lost := stream.close(exit); lost != nil {
			r.log.Warn("W&B: not all of the run was sent, wandb sync sends it", "error", lost, "run", r.dir)
		}
	}
	return nil
}

package wandb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// timing of the conversation with the service.
type timing struct {
	send      time.Duration // between two messages with what is new
	heartbeat time.Duration // the longest silence
	request   time.Duration // the longest wait for an answer
	retry     time.Duration // before the first repetition; each further one waits twice as long
	slowest   time.Duration // wait between repetitions
	finish    time.Duration // the longest wait in close
}

var usual = timing{
	send: 15 * time.Second, heartbeat: 30 * time.Second, request: 20 * time.Second,
	retry: time.Second, slowest: time.Minute, finish: 20 * time.Second,
}

// What waits to be sent is bounded: with the service away for long, further rows stay in the run's file only.
const (
	mostWaiting = 1 << 14 // lines, of history and of output each
	mostSent    = 1 << 11 // lines in one message, of each
	longestBody = 1 << 20 // of an answer, in bytes
)

// stream sends a run to the service, in the background.
type stream struct {
	settings Settings
	config   []entry
	log      *slog.Logger
	timing   timing
	client   *http.Client
	files    string // address of the run's file stream, "" before the service knows the run

	ctx    context.Context // ends when nobody waits any more
	cancel context.CancelFunc
	ending chan struct{} // closed when the run ends
	done   chan struct{} // closed when the sender has gone

	resumed bool

	mu      sync.Mutex
	exit    int
	rows    waiting
	printed waiting
	summary summary
	stop    error // for good: why the sender has gone before the end
}

// waiting are the lines of one file that the service has not got yet.
type waiting struct {
	offset int // line number of the first one
	lines  []string
	lost   int // lines that found no room
}

func (w *waiting) add(line string) {
	if len(w.lines) >= mostWaiting {
		w.lost++
		return
	}
	w.lines = append(w.lines, line)
}

// chunk is what goes into one message, nil for nothing.
func (w *waiting) chunk() *chunk {
	if len(w.lines) == 0 {
		return nil
	}
	return &chunk{w.offset, append([]string(nil), w.lines[:min(len(w.lines), mostSent)]...)}
}

func (w *waiting) sent(c *chunk) {
	if c != nil {
		w.offset += len(c.Content)
		w.lines = append(w.lines[:0], w.lines[len(c.Content):]...)
	}
}

// forward drops the lines that the service has: those before a line number.
func (w *waiting) forward(has int) {
	if has < w.offset {
		w.lost += w.offset - has
		return
	}
	w.sent(&chunk{Content: w.lines[:min(has-w.offset, len(w.lines))]})
}

// chunk are lines of a file, from a line number on.
type chunk struct {
	Offset  int      `json:"offset"`
	Content []string `json:"content"`
}

// startStream begins to send the run. Of a resumed one, before is what its file says: rows that the service has not
// got are sent once more.
func startStream(s Settings, config []entry, before *written, log *slog.Logger, t timing) *stream {
	w := &stream{
		settings: s, config: config, log: log, timing: t, client: &http.Client{Timeout: t.request},
		ending: make(chan struct{}), done: make(chan struct{}),
	}
	for _, e := range before.summary.list {
		w.summary.set(e)
	}
	w.rows.lines, w.rows.offset = before.last, before.rows-len(before.last)
	w.resumed = before.rows > 0
	w.ctx, w.cancel = context.WithCancel(context.Background())
	go w.run()
	return w
}

func (w *stream) history(row []entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rows.add(object(row))
	for _, e := range row {
		w.summary.set(e)
	}
}

func (w *stream) output(line string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.printed.add(now.UTC().Format("2006-01-02T15:04:05.000000 ") + line)
}

// close sends what is left and how the run ended, and says what could not be sent.
func (w *stream) close(exit int) error {
	w.mu.Lock()
	w.exit = exit
	w.mu.Unlock()
	close(w.ending)
	defer w.cancel()
	timer := time.AfterFunc(w.timing.finish, w.cancel)
	defer timer.Stop()
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stop != nil:
		return w.stop
	case w.rows.lost+w.printed.lost > 0:
		return fmt.Errorf("%d rows and %d lines of output found no room while the service was away", w.rows.lost, w.printed.lost)
	}
	return nil
}

// run is the sender.
func (w *stream) run() {
	defer close(w.done)
	err := w.until(w.open)
	for last := false; err == nil && !last; {
		last = w.pause()
		err = w.until(func() error { return w.send(last) })
	}
	if err == nil {
		return
	}
	w.mu.Lock()
	w.stop = err
	w.mu.Unlock()
	select {
	case <-w.ending: // close tells
	default:
		w.log.Warn("W&B: nothing more is sent", "error", err)
	}
}

// refused is an answer after which a repetition is of no use.
type refused struct{ error }

// until repeats what fails for a reason that may pass, until the service answers, refuses, or nobody waits any more.
func (w *stream) until(what func() error) error {
	wait, warned := w.timing.retry, false
	var why error
	for {
		err := what()
		if err == nil || errors.As(err, new(refused)) {
			return err
		}
		if why == nil || w.ctx.Err() == nil {
			why = err // and not that the wait for an answer was given up
		}
		if !warned {
			warned = true
			w.log.Warn("W&B: the service does not answer, trying again in the background", "error", err)
		}
		ending := w.ending
		select {
		case <-ending:
			wait = min(wait, w.timing.slowest/10) // close waits, so be quick
			ending = nil
		default:
		}
		select {
		case <-w.ctx.Done():
			return why
		case <-ending: // try once more at once
		case <-time.After(wait):
		}
		wait = min(2*wait, w.timing.slowest)
	}
}

// pause waits until there is something to send, or the service has to hear of the run; true when the run ends.
func (w *stream) pause() (ending bool) {
	silent := time.Duration(0)
	for silent < w.timing.heartbeat {
		step := min(w.timing.send, w.timing.heartbeat-silent)
		select {
		case <-w.ending:
			return true
		case <-time.After(step):
		}
		silent += step
		w.mu.Lock()
		waits := len(w.rows.lines)+len(w.printed.lines) > 0
		w.mu.Unlock()
		if waits {
			return false
		}
	}
	return false
}

// send sends all that waits, message by message, or a heartbeat if there is nothing. The last time it says how the
// run ended.
func (w *stream) send(last bool) error {
	for first := true; ; first = false {
		w.mu.Lock()
		rows, printed, exit := w.rows.chunk(), w.printed.chunk(), w.exit
		summary := object(w.summary.list)
		w.mu.Unlock()
		if rows == nil && printed == nil {
			switch {
			case last:
				return w.post(map[string]any{"complete": true, "exitcode": exit}, nil)
			case first:
				return w.post(map[string]any{"complete": false, "failed": false}, nil)
			}
			return nil
		}
		files := map[string]*chunk{}
		if rows != nil {
			files["wandb-history.jsonl"] = rows
			files["wandb-summary.json"] = &chunk{0, []string{summary}}
		}
		if printed != nil {
			files["output.log"] = printed
		}
		if err := w.post(map[string]any{"files": files}, nil); err != nil {
			return err
		}
		w.mu.Lock()
		w.rows.sent(rows)
		w.printed.sent(printed)
		w.mu.Unlock()
	}
}

func (w *stream) post(body, answer any) error { return w.request(w.files, body, answer) }

// request posts a JSON body. A nil answer is not looked at.
func (w *stream) request(address string, body, answer any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return refused{err}
	}
	q, err := http.NewRequestWithContext(w.ctx, http.MethodPost, address, bytes.NewReader(data))
	if err != nil {
		return refused{err}
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("User-Agent", producer)
	q.SetBasicAuth("api", w.settings.APIKey)
	p, err := w.client.Do(q)
	if err != nil {
		return err
	}
	defer p.Body.Close()
	content, err := io.ReadAll(io.LimitReader(p.Body, longestBody))
	if err != nil {
		return err
	}
	switch {
	case p.StatusCode == http.StatusTooManyRequests, p.StatusCode == http.StatusRequestTimeout, p.StatusCode >= 500:
		return fmt.Errorf("%s", p.Status)
	case p.StatusCode >= 300:
		return refused{fmt.Errorf("%s: %s", p.Status, excerpt(content))}
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return fmt.Errorf("an answer that is not understood: %s", excerpt(content))
	}
	return nil
}

// excerpt is the beginning of an answer, for a message.
func excerpt(content []byte) string {
	return fmt.Sprintf("%.120q", strings.ToValidUTF8(string(content), "\ufffd"))
}

const upsertBucket = `mutation UpsertBucket($name: String, $project: String, $entity: String, $displayName: String,
  $groupName: String, $jobType: String, $notes: String, $tags: [String!], $config: JSONString) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, displayName: $displayName,
    groupName: $groupName, jobType: $jobType, notes: $notes, tags: $tags, config: $config}) {
    bucket { name project { name entity { name } } historyLineCount logLineCount }
    inserted
  }
}`

// bucket is the service's word for a run.
type bucket struct {
	Name    string `json:"name"`
	Project struct {
		Name   string `json:"name"`
		Entity struct {
			Name string `json:"name"`
		} `json:"entity"`
	} `json:"project"`
	HistoryLineCount int `json:"historyLineCount"`
	LogLineCount     int `json:"logLineCount"`
}

// open makes the run known to the service, or finds it there, and learns how much of it the service has.
func (w *stream) open() error {
	s := w.settings
	optional := func(v string) any {
		if v == "" {
			return nil
		}
		return v
	}
	variables := map[string]any{
		"name": s.RunID, "project": s.Project, "entity": optional(s.Entity), "displayName": optional(s.Name),
		"groupName": optional(s.Group), "jobType": optional(s.JobType), "notes": optional(s.Notes), "config": configObject(w.config),
	}
	if len(s.Tags) > 0 {
		variables["tags"] = s.Tags
	}
	var answer struct {
		Data struct {
			UpsertBucket *struct {
				Bucket bucket `json:"bucket"`
			} `json:"upsertBucket"`
		} `json:"data"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	base := strings.TrimRight(s.BaseURL, "/")
	body := map[string]any{"query": upsertBucket, "variables": variables, "operationName": "UpsertBucket"}
	if err := w.request(base+"/graphql", body, &answer); err != nil {
		return err
	}
	if len(answer.Errors) > 0 {
		return refused{fmt.Errorf("the service says %.200q", answer.Errors[0].Message)}
	}
	if answer.Data.UpsertBucket == nil {
		return errors.New("an answer without the run")
	}
	b := answer.Data.UpsertBucket.Bucket
	if b.Name == "" || b.Project.Name == "" || b.Project.Entity.Name == "" || b.HistoryLineCount < 0 || b.LogLineCount < 0 {
		return errors.New("an answer without the run's name, project, entity and lines")
	}
	w.files = base + "/files/" + url.PathEscape(b.Project.Entity.Name) + "/" + url.PathEscape(b.Project.Name) + "/" + url.PathEscape(b.Name) + "/file_stream"
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resumed {
		w.rows.forward(b.HistoryLineCount)
	}
	w.rows.offset, w.printed.offset = b.HistoryLineCount, b.LogLineCount
	return nil
}

package wandb

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// offline is the folder of a run as "wandb sync" takes it: the records of the run in one file, and beside it what the
// client would have uploaded.
type offline struct {
	dir     string
	records *os.File
	printed *os.File // output.log
	offset  int64    // of records
	state   written
	buf     []byte
}

// The client's name for a folder is run-… where it was online and offline-run-… where not.
func folderName(s Settings, now time.Time) string {
	name := fmt.Sprintf("run-%s-%s", now.Format("20060102_150405"), s.RunID)
	if s.Mode == Offline {
		name = "offline-" + name
	}
	return name
}

// openOffline goes on with the newest folder of the run's id, or begins one.
func openOffline(s Settings, config []entry, now time.Time) (*offline, error) {
	o := &offline{state: written{step: -1}}
	root := filepath.Join(s.Dir, "wandb")
	if s.Resume {
		found, err := filepath.Glob(filepath.Join(quoteGlob(root), "*run-????????_??????-"+s.RunID))
		if err != nil {
			return nil, err
		}
		// The time in the name is what follows its last "run-".
		stamp := func(path string) string { return path[len(path)-len(s.RunID)-len("20060102_150405-"):] }
		slices.SortFunc(found, func(a, b string) int { return cmp.Compare(stamp(a), stamp(b)) })
		if len(found) > 0 {
			o.dir = found[len(found)-1]
		}
	}
	if o.dir == "" {
		o.dir = filepath.Join(root, folderName(s, now))
	}
	if err := os.MkdirAll(filepath.Join(o.dir, "files"), 0o755); err != nil {
		return nil, err
	}
	if err := o.open(s, config, now); err != nil {
		o.abandon()
		return nil, fmt.Errorf("wandb: %w", err)
	}
	return o, nil
}

// quoteGlob returns a pattern that stands for the path itself.
func quoteGlob(path string) string {
	var b []byte
	for i := range len(path) {
		if c := path[i]; c == '*' || c == '?' || c == '[' || c == '\\' && runtime.GOOS != "windows" {
			b = append(b, '\\')
		}
		b = append(b, path[i])
	}
	return string(b)
}

func (o *offline) open(s Settings, config []entry, now time.Time) (err error) {
	if o.records, err = os.OpenFile(filepath.Join(o.dir, "run-"+s.RunID+".wandb"), os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return err
	}
	if o.printed, err = os.OpenFile(o.path("output.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
		return err
	}
	if err := o.scan(); err != nil {
		return err
	}
	yaml, err := configYAML(config)
	if err != nil {
		return err
	}
	if err := os.WriteFile(o.path("config.yaml"), []byte(yaml), 0o644); err != nil {
		return err
	}
	if err := o.metadata(s, now); err != nil {
		return err
	}
	if o.state.begun { // an earlier part of the run is there
		return o.append(nested(recordConfig, entries(itemUpdate, config)...))
	}
	return o.begin(s, config, now)
}

func (o *offline) path(name string) string { return filepath.Join(o.dir, "files", name) }

// scan reads what is there, and cuts off an end that is torn or that says that the run has ended.
func (o *offline) scan() error {
	info, err := o.records.Stat()
	if err != nil || info.Size() < int64(len(fileHead)) {
		return err
	}
	end := int64(len(fileHead))
	err = eachRecord(bufio.NewReaderSize(o.records, 1<<20), func(record []byte, at int64) error {
		num := o.state.num
		if err := o.state.take(record); err != nil {
			return fmt.Errorf("%s: the record that ends at byte %d: %w", o.records.Name(), at, err)
		}
		if o.state.ended {
			o.state.num = num
			return io.EOF
		}
		end = at
		return nil
	})
	if err != nil && err != io.EOF && !errors.Is(err, errTorn) {
		return fmt.Errorf("%s: %w", o.records.Name(), err)
	}
	o.state.ended = false
	o.offset = end
	if err := o.records.Truncate(end); err != nil {
		return err
	}
	_, err = o.records.Seek(end, io.SeekStart)
	return err
}

// begin writes the head of the file and the records that open a run.
func (o *offline) begin(s Settings, config []entry, now time.Time) error {
	if err := o.records.Truncate(0); err != nil {
		return err
	}
	if _, err := o.records.WriteAt(fileHead, 0); err != nil {
		return err
	}
	if _, err := o.records.Seek(int64(len(fileHead)), io.SeekStart); err != nil {
		return err
	}
	o.state = written{step: -1}
	o.offset = int64(len(fileHead))
	host, err := os.Hostname()
	if err != nil {
		host = "" // a record does well without
	}
	run := []field{
		text(runID, s.RunID), text(runEntity, s.Entity), text(runProject, s.Project),
		nested(runConfig, entries(itemUpdate, config)...),
		text(runGroup, s.Group), text(runJobType, s.JobType), text(runName, s.Name), text(runNotes, s.Notes),
		text(runHost, host), timestamp(runStart, now),
	}
	for _, tag := range s.Tags {
		run = append(run, text(runTags, tag))
	}
	return errors.Join(
		o.append(nested(recordHeader, nested(1, text(1, producer), text(2, minConsumer)))),
		o.append(nested(recordRun, run...)),
		o.append(nested(recordFiles, nested(1, text(1, metadataFile)))),
	)
}

// Who wrote a file, and the oldest client that reads it.
const (
	producer     = "gojet"
	minConsumer  = "0.10.0"
	metadataFile = "wandb-metadata.json"
)

// metadata writes what the run ran on. It tells no more of machine and user than a reader of results needs.
func (o *offline) metadata(s Settings, now time.Time) error {
	data, err := json.MarshalIndent(struct {
		OS        string    `json:"os"`
		Go        string    `json:"go"`
		Program   string    `json:"program"`
		Args      []string  `json:"args"`
		CPUCount  int       `json:"cpu_count"`
		StartedAt time.Time `json:"startedAt"`
	}{runtime.GOOS + "-" + runtime.GOARCH, runtime.Version(), producer, append([]string{}, s.Args...), runtime.NumCPU(), now.UTC()}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.path(metadataFile), append(data, '\n'), 0o644)
}

// append writes one record of the given content. The file holds whole records only, but for its very end.
func (o *offline) append(content field) error {
	record := message(number(recordNum, o.state.num+1), content)
	o.buf = appendFrames(o.buf[:0], o.offset, record)
	if _, err := o.records.Write(o.buf); err != nil {
		return err
	}
	o.state.num++
	o.offset += int64(len(o.buf))
	return nil
}

func (o *offline) history(step int, row []entry) error {
	for _, e := range row {
		o.state.summary.set(e)
	}
	fields := append(entries(historyItem, row), nested(historyStep, number(1, int64(step))))
	return o.append(nested(recordHistory, fields...))
}

func (o *offline) output(line string, now time.Time) error {
	const stdout = 1
	if _, err := o.printed.WriteString(line + "\n"); err != nil {
		return err
	}
	return o.append(nested(recordOutput, number(1, stdout), timestamp(2, now), text(3, line+"\n")))
}

// close writes the summary and how the run ended.
func (o *offline) close(exit int, seconds float64) error {
	list := o.state.summary.list
	whole := append(slices.Clone(list), entry{"_wandb", fmt.Sprintf(`{"runtime":%d}`, int64(seconds))})
	return errors.Join(
		o.append(nested(recordSummary, entries(itemUpdate, list)...)),
		o.append(nested(recordExit, number(1, int64(exit)), number(2, int64(seconds)))),
		o.append(nested(recordFinal)),
		o.append(nested(recordFooter)),
		os.WriteFile(o.path("wandb-summary.json"), []byte(object(whole)+"\n"), 0o644),
		o.records.Sync(), o.records.Close(), o.printed.Close(),
	)
}

// abandon closes what is open, after an error that was reported.
func (o *offline) abandon() {
	for _, f := range []*os.File{o.records, o.printed} {
		if f != nil {
			_ = f.Close()
		}
	}
}

package wandb

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var checkDir = flag.String("wandb.dir", "", "write an offline run there for dev/wandb_check.py")

// TestWriteForCheck writes a run that a real W&B client reads in dev/wandb_check.py, and beside it what it should find.
// The run is long enough for records across blocks, was killed within a record, and was resumed.
func TestWriteForCheck(t *testing.T) {
	if *checkDir == "" {
		t.Skip("for dev/wandb_check.py only: it sets -wandb.dir")
	}
	config := map[string]any{"lr": 1e-7, "steps": 300, "name": "größer \"<x>\"", "model": map[string]any{"layers": []any{1, 2.5, "a", nil, true}}}
	s := Settings{Mode: Offline, State: *checkDir, RunID: "check-1", Project: "gojet-check", Name: "a run", Group: "group", Notes: "noted",
		JobType: "train", Tags: []string{"one", "two"}, Config: config, Args: []string{"train", "quickstart"}}
	var rows []map[string]any
	row := func(step int) (items []Item) {
		items = []Item{{"loss", 10 / float64(step+1)}, {"lr", 1e-5 * float64(step)}, {"stage", "wärm"}, {"eval/loss", 0.1}}
		switch {
		case step == 7:
			items[0].Value = math.NaN()
		case step == 8:
			items[0].Value, items[1].Value = math.Inf(1), math.Inf(-1)
		case step%50 == 0:
			items = append(items, Item{"long", strings.Repeat("text ", step*200)}) // up to ten blocks
		}
		return items
	}
	expect := func(step int) {
		m := map[string]any{stepKey: step}
		for _, i := range row(step) {
			m[i.Key] = i.Value
			if f, ok := i.Value.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
				m[i.Key] = valueJSON(f)
			}
		}
		rows = append(rows, m)
	}
	r := open(t, s)
	for step := range 200 {
		r.Log(step, row(step))
		expect(step)
	}
	fmt.Fprintln(r, "printed before")
	path := filepath.Join(r.Dir(), "run-check-1.wandb")
	end := r.file.offset
	r.Log(200, row(200)) // of which half is lost
	if err := os.Truncate(path, (end+r.file.offset)/2); err != nil {
		t.Fatal(err)
	}
	r.file.abandon()
	s.Resume = true
	r = open(t, s)
	for step := 180; step < 300; step++ {
		r.Log(step, row(step))
		if step >= 200 {
			expect(step)
		}
	}
	fmt.Fprintln(r, "printed after")
	if err := r.Close(3); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]any{"dir": r.Dir(), "file": path, "config": config, "rows": rows, "exit": 3,
		"run": map[string]any{"run_id": s.RunID, "project": s.Project, "display_name": s.Name, "run_group": s.Group, "job_type": s.JobType,
			"notes": s.Notes, "tags": s.Tags},
		"output": []string{"printed before", "printed after"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*checkDir, "expected.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

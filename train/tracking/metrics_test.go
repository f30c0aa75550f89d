package tracking

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// lines are the rows of a small run, as the file has them.
const lines = `{"step":0,"stage":"warm","eval/loss":9.5}
{"step":1,"stage":"warm","loss":"NaN","grad_norm":"Infinity","lr":1e-05}
{"step":2,"stage":"warm","loss":0.1,"lr":"-Infinity"}
{"step":2,"stage":"näch\"ste","eval/loss":0.30000000000000004}
`

func rows() []Row {
	return []Row{
		{0, "warm", []Metric{{EvalLoss, 9.5}}},
		{1, "warm", []Metric{{Loss, math.NaN()}, {GradNorm, math.Inf(1)}, {LR, 1e-5}}},
		{2, "warm", []Metric{{Loss, 0.1}, {LR, math.Inf(-1)}}},
		{2, "näch\"ste", []Metric{{EvalLoss, 0.30000000000000004}}},
	}
}

func path(t *testing.T) string { return filepath.Join(t.TempDir(), MetricsFile) }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// wants asks for an error of one line with the given part, or for none.
func wants(t *testing.T, err error, part string) {
	t.Helper()
	switch {
	case part == "" && err != nil:
		t.Errorf("error %v", err)
	case part != "" && (err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n")):
		t.Errorf("error %v, want one line with %q", err, part)
	}
}

func TestMetrics(t *testing.T) {
	p := path(t)
	m, err := OpenMetrics(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows() {
		if err := m.Log(r); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, p); got != lines { // before Close: every row is out when Log returns
		t.Errorf("file:\n%swant:\n%s", got, lines)
	}
	mark, err := m.Mark()
	if want := (Mark{2, int64(len(lines))}); err != nil || mark != want {
		t.Errorf("mark %v, error %v, want %v", mark, err, want)
	}
	for _, c := range []struct {
		row  Row
		want string
	}{
		{Row{Step: 1}, "step 1 after step 2"},
		{Row{Step: 3, Metrics: []Metric{{"", 1}}}, "without a name"},
		{Row{Step: 3, Metrics: []Metric{{"step", 1}}}, `metric "step": the name is taken`},
		{Row{Step: 3, Metrics: []Metric{{"a", 1}, {"a", 1}}}, `metric "a" occurs twice`},
		{Row{Step: 3, Stage: strings.Repeat("s", longestLine)}, "want at most 1048576"},
	} {
		wants(t, m.Log(c.row), c.want)
	}
	if err := m.Close(0); err != nil {
		t.Fatal(err)
	}
	got, err := ReadMetrics(p)
	if err != nil || len(got) != 4 || !math.IsNaN(got[1].Metrics[0].Value) {
		t.Fatalf("rows %v, error %v", got, err)
	}
	want := rows()
	got[1].Metrics[0].Value, want[1].Metrics[0].Value = 0, 0 // NaN is not equal to itself
	if !reflect.DeepEqual(got, want) {
		t.Errorf("rows %v, want %v", got, want)
	}
}

func TestBadMetrics(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"\n\ufeff\r\n" + `{"step":1}` + "\r\n", ""},
		{`{"step":1}` + "\n" + `{"step":2,"lo`, ""}, // torn
		{`{"step":1}` + "\n" + `{"step":2,"lo` + "\n", "jsonl:2: "},
		{"x\n", "jsonl:1: want a JSON object"},
		{"[1]\n", "jsonl:1: want a JSON object"},
		{"{}\n", `jsonl:1: "step" is missing`},
		{`{"step":1.5}` + "\n", `"step" is 1.5, want one whole number`},
		{`{"step":-1}` + "\n", `"step" is -1`},
		{`{"step":1,"step":1}` + "\n", `want one whole number`},
		{`{"step":99999999999999999999}` + "\n", "want one whole number"},
		{`{"step":2}` + "\n" + `{"step":1}` + "\n", "jsonl:2: step 1 after step 2"},
		{`{"step":1,"stage":3}` + "\n", `"stage" is 3, want one string`},
		{`{"step":1,"stage":null}` + "\n", `"stage" is null`},
		{`{"step":1,"stage":"a","stage":"a"}` + "\n", `want one string`},
		{`{"step":1,"loss":null}` + "\n", `"loss": null is no number`},
		{`{"step":1,"loss":"1"}` + "\n", `"loss": "1" is no number`},
		{`{"step":1,"loss":1e999}` + "\n", `"loss": 1e999 is no number`},
		{`{"step":1,"loss":[[[]]]}` + "\n", `"loss": [[[]]] is no number`},
		{`{"step":1,"loss":1,"loss":1}` + "\n", `"loss" occurs twice`},
		{`{"step":1,"":1}` + "\n", "without a name"},
		{`{"step":1}{"step":2}` + "\n", "more follows"},
		{`{"step":1` + "\x00\x00\n", "jsonl:1: "},
		{`{"step":1,"x":` + strings.Repeat("[", 100000) + "\n", "jsonl:1: "},
		{strings.Repeat(" ", longestLine) + "\n", "jsonl:1: the line is longer"},
	} {
		p := path(t)
		write(t, p, c.text)
		_, err := ReadMetrics(p)
		wants(t, err, c.want)
	}
	_, err := ReadMetrics(filepath.Join(t.TempDir(), "none"))
	wants(t, err, "no such file")
}

func TestResume(t *testing.T) {
	second := strings.Index(lines, `{"step":2`) // where it begins
	for _, c := range []struct {
		name, text string
		from       *Mark
		left, want string
	}{
		{"new", "", nil, "", ""},
		{"new over a torn line", `{"step":1,"lo`, nil, "", ""},
		{"new over rows", lines, nil, lines, "rows of another one"},
		{"new over something else", "x\n", nil, "x\n", "rows of another one"},
		{"at the end", lines, &Mark{2, int64(len(lines))}, lines, ""},
		{"torn", lines + `{"step":3,"lo`, &Mark{2, int64(len(lines))}, lines, ""},
		{"rows after it", lines, &Mark{1, int64(second)}, lines[:second], ""},
		{"garbage after it", lines[:second] + "\x00\x00\n", &Mark{1, int64(second)}, lines[:second], ""},
		{"before the first step", lines, &Mark{0, 0}, "", ""},
		{"rows lost", lines[:second], &Mark{2, int64(len(lines))}, lines[:second], "rows before it are lost"},
		{"within a line", lines, &Mark{1, int64(second) - 3}, lines, "rows before it are lost"},
		{"of another run", lines, &Mark{1, int64(len(lines))}, lines, "step 2 lies before byte"},
		{"damaged", "x" + lines[1:], &Mark{2, int64(len(lines))}, "x" + lines[1:], "jsonl:1: "},
		{"negative", lines, &Mark{1, -1}, lines, "offset is -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := path(t)
			write(t, p, c.text)
			m, err := OpenMetrics(p, c.from)
			wants(t, err, c.want)
			if got := read(t, p); got != c.left {
				t.Errorf("file:\n%swant:\n%s", got, c.left)
			}
			if err != nil {
				return
			}
			if err := m.Log(Row{Step: 7}); err != nil {
				t.Error(err)
			}
			if err := m.Close(0); err != nil {
				t.Error(err)
			}
			if got := read(t, p); got != c.left+`{"step":7}`+"\n" {
				t.Errorf("file with another row:\n%s", got)
			}
		})
	}
}

// fullDisk takes room more bytes.
type fullDisk struct {
	*os.File
	room int
}

func (d *fullDisk) Write(b []byte) (int, error) {
	n, err := d.File.Write(b[:min(len(b), d.room)])
	d.room -= n
	if n < len(b) {
		err = errors.Join(err, errors.New("no space left"))
	}
	return n, err
}

// TestFullDisk: a row that fails leaves nothing behind, and is logged again once there is space.
func TestFullDisk(t *testing.T) {
	p := path(t)
	m, err := OpenMetrics(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	disk := &fullDisk{m.file.(*os.File), 30}
	m.file = disk
	row := Row{Step: 1, Metrics: []Metric{{Loss, 1}}}
	if err := m.Log(row); err != nil {
		t.Fatal(err)
	}
	row.Step = 2
	wants(t, m.Log(row), "no space left")
	disk.room = 1000
	if err := m.Log(row); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, p), "{\"step\":1,\"loss\":1}\n{\"step\":2,\"loss\":1}\n"; got != want {
		t.Errorf("file %q, want %q", got, want)
	}
	mark, err := m.Mark()
	if err != nil || mark != (Mark{2, 40}) {
		t.Errorf("mark %v, error %v", mark, err)
	}
}

func TestLogAllocates(t *testing.T) {
	m, err := OpenMetrics(path(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	row := rows()[2]
	if n := testing.AllocsPerRun(100, func() {
		if err := m.Log(row); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a row, want none", n)
	}
}

func TestCSV(t *testing.T) {
	var b strings.Builder
	if err := WriteCSV(&b, rows()); err != nil {
		t.Fatal(err)
	}
	want := "step,stage,eval/loss,loss,grad_norm,lr\n0,warm,9.5,,,\n1,warm,,NaN,+Inf,1e-05\n2,warm,,0.1,,-Inf\n" +
		"2,\"näch\"\"ste\",0.30000000000000004,,,\n"
	if b.String() != want {
		t.Errorf("table:\n%swant:\n%s", b.String(), want)
	}
}

// FuzzMetrics: the reader returns rows or an error that names the line; rows written and read again are the same.
func FuzzMetrics(f *testing.F) {
	f.Add([]byte(lines))
	f.Add([]byte("\ufeff\n{\"step\":1}\r\n{\"step\":1,\"\\ud800\":2e-324}\nx"))
	f.Fuzz(func(t *testing.T, data []byte) {
		text := func(rows []Row) (b []byte) {
			for _, r := range rows {
				b = appendRow(b, r)
			}
			return b
		}
		collect := func(data []byte) (rows []Row, err error) {
			whole, err := eachRow(strings.NewReader(string(data)), "m", func(r Row) error {
				rows = append(rows, r)
				return nil
			})
			if whole < 0 || whole > int64(len(data)) {
				t.Errorf("%d bytes of whole lines in %d bytes", whole, len(data))
			}
			return rows, err
		}
		rows, err := collect(data)
		if err != nil && !strings.HasPrefix(err.Error(), "m:") {
			t.Errorf("error %v names no line", err)
		}
		first := text(rows)
		again, err := collect(first)
		if err != nil || string(text(again)) != string(first) {
			t.Errorf("read %q, written and read again %q, error %v", first, text(again), err)
		}
	})
}

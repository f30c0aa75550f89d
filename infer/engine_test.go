package infer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/infer/infertest"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
)

const vocab = infertest.Vocab

// everyMixer is a small model with each mixer of the table, its weights drawn wide so that answers vary.
func everyMixer(t testing.TB) (*layers.Decoder, layers.Weights) {
	t.Helper()
	var kinds []string
	for _, r := range layers.Mixers() {
		kinds = append(kinds, r.Name)
	}
	return infertest.Mixed(t, kinds...)
}

func engine(t testing.TB, d *layers.Decoder, w layers.Weights, cfg Config) *Engine {
	t.Helper()
	cores := cpu.New(2)
	t.Cleanup(cores.Close)
	e, err := New(d, w, autograd.OnCPU(cores), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func someIDs(n int) []int32 {
	r := check.Rand(5)
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(r.IntN(vocab))
	}
	return ids
}

// whole computes the logits [len(ids), Vocab] of one sequence without state.
func whole(t *testing.T, d *layers.Decoder, w layers.Weights, ids []int32) []float32 {
	t.Helper()
	g := autograd.NewGraph(autograd.Float32)
	in := layers.Inputs{IDs: g.Ints("ids", len(ids)), Seq: g.Sequences("sequences", 1)}
	logits := d.Logits(g, d.Forward(g, in).Hidden)
	plan, err := autograd.Compile(g, logits)
	if err != nil {
		t.Fatal(err)
	}
	cores := cpu.New(2)
	t.Cleanup(cores.Close)
	x := autograd.NewExecutor(plan, autograd.OnCPU(cores))
	if err := w.Bind(x, g, ""); err != nil {
		t.Fatal(err)
	}
	for n, v := range map[*autograd.Node]autograd.Value{in.IDs: autograd.Int32s(ids), in.Seq: autograd.SequenceValue(packed.Batch(1, len(ids)))} {
		if err := x.Bind(n, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.RunAll(); err != nil {
		t.Fatal(err)
	}
	return x.Value(logits).F32
}

func feed(t *testing.T, e *Engine, ids ...int32) []float32 {
	t.Helper()
	logits, err := e.Feed(ids)
	if err != nil {
		t.Fatal(err)
	}
	return logits
}

// TestChunksAgree feeds one sequence in pieces of several lengths, each cut into chunks by the engine, and holds the
// logits of every token to those of the model without state.
func TestChunksAgree(t *testing.T) {
	d, w := everyMixer(t)
	ids := someIDs(130)
	want := whole(t, d, w, ids)
	for _, tc := range []struct{ chunk, piece int }{{1, 130}, {7, 130}, {64, 130}, {500, 130}, {64, 1}, {16, 65}, {5, 63}} {
		all := engine(t, d, w, Config{Capacity: len(ids), Chunk: tc.chunk, AllLogits: true})
		last := engine(t, d, w, Config{Capacity: len(ids), Chunk: tc.chunk})
		var got []float32
		for lo := 0; lo < len(ids); lo += tc.piece {
			hi := min(lo+tc.piece, len(ids))
			got = append(got, feed(t, all, ids[lo:hi]...)...)
			name := fmt.Sprintf("chunks of %d, pieces of %d: token %d", tc.chunk, tc.piece, hi-1)
			check.Close(t, name, feed(t, last, ids[lo:hi]...), want[(hi-1)*vocab:hi*vocab], check.Chunked32)
			if last.Len() != hi {
				t.Errorf("%s: %d tokens consumed, want %d", name, last.Len(), hi)
			}
		}
		check.Close(t, fmt.Sprintf("chunks of %d, pieces of %d", tc.chunk, tc.piece), got, want, check.Chunked32)
	}
}

func TestReset(t *testing.T) {
	d, w := everyMixer(t)
	ids := someIDs(30)
	e := engine(t, d, w, Config{Capacity: 40, Chunk: 8})
	first := slices.Clone(feed(t, e, ids...))
	feed(t, e, 1, 2, 3)
	e.Reset()
	if e.Len() != 0 {
		t.Errorf("%d tokens consumed after Reset", e.Len())
	}
	if again := feed(t, e, ids...); !slices.Equal(again, first) {
		t.Errorf("after Reset the logits differ by %.3g", check.RelErr(again, first))
	}
}

func TestRefused(t *testing.T) {
	d, w := everyMixer(t)
	e := engine(t, d, w, Config{Capacity: 10, Chunk: 4})
	feed(t, e, 1, 2, 3)
	for want, ids := range map[string][]int32{
		"infer: no tokens to feed, want at least one":          {},
		"infer: 8 tokens after 3 exceed the capacity of 10":    make([]int32, 8),
		"embedding: token 5 has id 50, want 0 to 49":           {0, 0, 0, 0, 0, 50},
		"embedding: token 0 has id -1, want 0 to 49":           {-1},
		"infer: 9000 tokens after 3 exceed the capacity of 10": make([]int32, 9000),
		"embedding: token 1 has id 2147483647, want 0 to 49":   {0, 1<<31 - 1},
	} {
		if _, err := e.Feed(ids); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	// What was refused left no trace.
	fresh := engine(t, d, w, Config{Capacity: 10, Chunk: 4})
	feed(t, fresh, 1, 2, 3)
	if e.Len() != 3 || !slices.Equal(feed(t, e, 4), feed(t, fresh, 4)) {
		t.Error("a refused call changed the sequence")
	}
	for _, cfg := range []Config{{}, {Capacity: 1}, {Chunk: 1}, {Capacity: -1, Chunk: 1}} {
		if _, err := New(d, w, nil, cfg); err == nil || !strings.Contains(err.Error(), "want 1 or more of each") {
			t.Errorf("%+v: error %v", cfg, err)
		}
	}
	delete(w, "model.norm.weight")
	if _, err := engine(t, d, w, Config{Capacity: 1, Chunk: 1}).Feed([]int32{1}); err == nil || !strings.Contains(err.Error(), "model.norm.weight") {
		t.Errorf("a missing weight: error %v", err)
	}
}

func TestStateBytes(t *testing.T) {
	d, w := everyMixer(t)
	for _, capacity := range []int{5, 100} {
		want := int64(0)
		for _, s := range d.States(capacity) {
			want += 4 * int64(s.Size())
		}
		if got := engine(t, d, w, Config{Capacity: capacity, Chunk: 1}).StateBytes(); got != want || got == 0 {
			t.Errorf("capacity %d: %d bytes of state, want %d", capacity, got, want)
		}
	}
}

// TestBF16Weights runs from weights in bfloat16 as from the same numbers in float32.
func TestBF16Weights(t *testing.T) {
	d, w := everyMixer(t)
	half := w.Half()
	rounded := layers.Weights{}
	for name, v := range half {
		if v.BF16 != nil {
			full := make([]float32, len(v.BF16))
			for i, b := range v.BF16 {
				full[i] = b.Float32()
			}
			v = autograd.Float32s(full, v.Shape...)
		}
		rounded[name] = v
	}
	ids := someIDs(40)
	for _, chunk := range []int{1, 16} {
		cfg := Config{Capacity: len(ids), Chunk: chunk, AllLogits: true}
		got := feed(t, engine(t, d, half, cfg), ids...)
		check.Close(t, fmt.Sprintf("chunks of %d", chunk), got, feed(t, engine(t, d, rounded, cfg), ids...), check.Chunked32)
	}
}

// TestThreads: the number of cores changes no bit.
func TestThreads(t *testing.T) {
	d, w := everyMixer(t)
	ids := someIDs(70)
	var want []float32
	for threads := 1; threads <= 3; threads++ {
		cores := cpu.New(threads)
		e, err := New(d, w, autograd.OnCPU(cores), Config{Capacity: 100, Chunk: 33, AllLogits: true})
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Concat(feed(t, e, ids...), feed(t, e, 3))
		cores.Close()
		if want == nil {
			want = got
		} else if !slices.Equal(got, want) {
			t.Errorf("%d threads: logits differ by %.3g from those of one", threads, check.RelErr(got, want))
		}
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	d, w := everyMixer(t)
	for _, all := range []bool{false, true} {
		e := engine(t, d, w, Config{Capacity: 2000, Chunk: 32, AllLogits: all})
		ids := someIDs(300)
		feed(t, e, ids...)
		feed(t, e, ids[0])
		if n := testing.AllocsPerRun(100, func() { feed(t, e, ids[:1]...) }); n != 0 {
			t.Errorf("all logits %v: %v allocations a token", all, n)
		}
		prompt := func() { e.Reset(); feed(t, e, ids[:70]...) }
		testing.AllocsPerRun(10, prompt) // it has one processor, so that workers meet other parts there than before
		if n := testing.AllocsPerRun(10, prompt); n != 0 {
			t.Errorf("all logits %v: %v allocations a prompt of 70", all, n)
		}
	}
}

// TestRowsSideBySide continues three sequences of different lengths together, and each answer must be that of the sequence
// alone.
func TestRowsSideBySide(t *testing.T) {
	d, w := everyMixer(t)
	e := engine(t, d, w, Config{Rows: 5, Capacity: 60, Chunk: 16})
	ids, rows, lens := someIDs(60), []int{3, 0, 4}, []int{1, 17, 40}
	for i, row := range rows {
		if _, err := e.FeedRow(row, ids[:lens[i]]); err != nil {
			t.Fatal(err)
		}
	}
	for step := range 12 {
		active := rows
		if step == 7 {
			e.ResetRow(0)
			lens[1] = 0
		}
		if step%3 == 2 {
			active = rows[1:]
		}
		var next []int32
		for i, row := range rows {
			if slices.Contains(active, row) {
				next = append(next, ids[lens[i]])
				lens[i]++
			}
		}
		logits, err := e.Step(active, next)
		if err != nil {
			t.Fatal(err)
		}
		for k, row := range active {
			n := lens[slices.Index(rows, row)]
			want := whole(t, d, w, ids[:n])[(n-1)*vocab:]
			check.Close(t, fmt.Sprintf("step %d, row %d", step, row), logits[k*vocab:(k+1)*vocab], want, check.Chunked32)
		}
	}
	for _, bad := range []struct {
		rows []int
		ids  []int32
		want string
	}{
		{[]int{1, 1}, []int32{1, 2}, "row 1 comes twice"}, {[]int{5}, []int32{1}, "row 5, want 0 to 4"},
		{[]int{1}, nil, "1 rows and 0 tokens"}, {[]int{1}, []int32{vocab}, "token"},
	} {
		if _, err := e.Step(bad.rows, bad.ids); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("rows %v: got %v, want %q", bad.rows, err, bad.want)
		}
	}
}

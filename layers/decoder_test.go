package layers

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/packed"
)

// smallConfig is a hybrid with every mixer of the table.
func smallConfig(t *testing.T) *checkpoints.Config {
	t.Helper()
	c := &checkpoints.Config{
		ModelType: checkpoints.JetNemotron, HiddenSize: 24, IntermediateSize: 40, NumHeads: 4, NumKVHeads: 2, HeadDim: 6,
		VocabSize: 50, MaxPositions: 256, RMSNormEps: 1e-6, RopeTheta: 1e4, InitializerRange: 0.3, TieEmbeddings: true,
		AttentionBias: true, BOS: -1, DType: "float32",
	}
	for _, r := range Mixers() {
		c.LayerTypes = append(c.LayerTypes, r.Name)
	}
	c.LayerTypes = append(c.LayerTypes, "jet")
	c.NumLayers = len(c.LayerTypes)
	jet := checkpoints.JetConfig{NumHeads: 2, HeadDim: 6, ExpandV: 2, NormEps: 1e-5, ConvSize: 4, GeneratorReduction: 4, Mode: "chunk"}
	for _, r := range Mixers() { // linear blocks share their options
		if r.Name != "attn" && r.Name != "swa" {
			if err := c.SetJet(r.Name, jet); err != nil {
				t.Fatal(err)
			}
		}
	}
	// options of their own, small so that single values matter
	for kind, more := range map[string]string{
		"gla": `"gate_low_rank_dim": 5, "gate_logit_normalizer": 2`, "rwkv7": `"decay_low_rank_dim": 4, "a_low_rank_dim": 3, "gate_low_rank_dim": 5`,
	} {
		text := strings.TrimSuffix(string(c.Mixers[kind]), "}") + ", " + more + "}"
		c.Mixers[kind] = json.RawMessage(text)
	}
	if err := c.SetWindow(9); err != nil {
		t.Fatal(err)
	}
	return c
}

// livelyWeights are drawn weights with nothing left at zero, so that every path carries signal.
func livelyWeights(d *Decoder) Weights {
	w := d.Draw(1)
	for name, v := range w {
		if strings.Contains(name, "generator") || strings.HasSuffix(name, ".bias") {
			copy(v.F32, check.To[float32](check.Normal(check.Rand(uint64(len(name))), len(v.F32), 0.3)))
		}
	}
	return w
}

// run computes the logits [N, Vocab] of packed sequences without state.
func run(t *testing.T, m testMachine, d *Decoder, w Weights, ids []int32, q packed.Sequences) []float32 {
	t.Helper()
	g := autograd.NewGraph(autograd.Float32)
	in := Inputs{IDs: g.Ints("ids", len(ids)), Seq: g.Sequences("sequences", q.Len())}
	logits := d.Logits(g, d.Forward(g, in).Hidden)
	e := m.executor(t, g, map[*autograd.Node]autograd.Value{in.IDs: autograd.Int32s(ids), in.Seq: autograd.SequenceValue(q)}, logits)
	m.bind(t, w, e, g)
	if err := e.RunAll(); err != nil {
		t.Fatal(err)
	}
	return read(t, e, logits)
}

func someIDs(n, vocab int) []int32 {
	r := check.Rand(5)
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(r.IntN(vocab))
	}
	return ids
}

func TestPackedDocumentsDoNotLeak(t *testing.T) { eachMachine(t, check.Chunked32, packedDocuments) }

func packedDocuments(t *testing.T, m testMachine) {
	d, err := NewDecoder(smallConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	w, v := livelyWeights(d), d.Config.VocabSize
	ids := someIDs(90, v)
	q := packed.Sequences{Cu: []int32{0, 1, 1, 66, 90}}
	all := run(t, m, d, w, ids, q)
	for s := range q.Len() {
		lo, hi := q.Span(s)
		if lo == hi {
			continue
		}
		alone := run(t, m, d, w, ids[lo:hi], packed.Batch(1, hi-lo))
		check.Close(t, fmt.Sprintf("document %d", s), all[lo*v:hi*v], alone, m.tol)
	}
}

// TestStateContinues feeds two sequences in turns through state, in chunks of several sizes with tokens that belong to
// none between them, and compares with the full forward pass.
func TestStateContinues(t *testing.T) { eachMachine(t, check.Chunked32, stateContinues) }

func stateContinues(t *testing.T, m testMachine) {
	c := smallConfig(t)
	for kinds := range slices.Chunk(c.LayerTypes, 5) { // roundings grow with the depth
		part := c.Clone()
		part.LayerTypes, part.NumLayers = kinds, len(kinds)
		d, err := NewDecoder(part)
		if err != nil {
			t.Fatal(err)
		}
		w, v := livelyWeights(d), d.Config.VocabSize
		const length = 70
		ids := someIDs(2*length, v)
		want := run(t, m, d, w, ids, packed.Batch(2, length))
		for _, chunk := range []int{1, 7, 64} {
			got := feed(t, m, d, w, ids, length, chunk)
			check.Close(t, fmt.Sprintf("%v: chunks of %d", kinds, chunk), got, want, m.tol)
		}
	}
}

// feed runs two sequences of length tokens through state, the second one a chunk of half the size behind, with their
// rows of state swapped.
func feed(t *testing.T, m testMachine, d *Decoder, w Weights, ids []int32, length, chunk int) []float32 {
	t.Helper()
	v := d.Config.VocabSize
	g := autograd.NewGraph(autograd.Float32)
	n := 2*chunk + 1
	in := Inputs{IDs: g.Ints("ids", n), Seq: g.Sequences("sequences", 2), Rows: 3, Capacity: length}
	logits := d.Logits(g, d.Forward(g, in).Hidden)
	now, seq := make([]int32, n), autograd.SequenceValue(packed.Batch(2, 0))
	values := map[*autograd.Node]autograd.Value{in.IDs: autograd.Int32s(now), in.Seq: seq}
	for name, node := range g.Inputs() {
		if g.RoleOf(node) == autograd.State {
			values[node] = autograd.Float32s(make([]float32, product(node.Shape())))
			if !strings.HasPrefix(name, "model.layers.") {
				t.Errorf("state %s is not named by its layer", name)
			}
		}
	}
	e := m.executor(t, g, values, logits)
	e.Poison = m.Device == nil // a device replays a recording from the second run on
	m.bind(t, w, e, g)
	got := make([]float32, 2*length*v)
	for a, b := 0, 0; a < length || b < length; {
		na := min(chunk, length-a)
		nb := min((chunk+1)/2, length-b)
		copy(now[1:], ids[a:a+na])
		copy(now[1+na:], ids[length+b:length+b+nb])
		autograd.SetSequences(seq.I32, packed.Sequences{
			Cu: []int32{1, int32(1 + na), int32(1 + na + nb)}, Pos: []int32{int32(a), int32(b)}, Slot: []int32{2, 0},
		})
		if err := e.RunAll(); err != nil {
			t.Fatal(err)
		}
		out := read(t, e, logits)
		copy(got[a*v:], out[v:(1+na)*v])
		copy(got[(length+b)*v:], out[(1+na)*v:(1+na+nb)*v])
		a, b = a+na, b+nb
	}
	return got
}

// TestGradientsOfEveryMixer checks each row of the table.
func TestGradientsOfEveryMixer(t *testing.T) {
	c := smallConfig(t)
	for _, r := range Mixers() {
		t.Run(r.Name, func(t *testing.T) {
			m, err := r.New(c, r.Name)
			if err != nil {
				t.Fatal(err)
			}
			gradientsOfMixer(t, c, m)
		})
	}
}

// gradientsOfMixer checks gradients in float64 by central differences.
func gradientsOfMixer(t *testing.T, c *checkpoints.Config, m Mixer) {
	t.Helper()
	q := packed.Sequences{Cu: []int32{0, 6, 9}}
	values := map[string]autograd.Value{
		"x":         autograd.Float64s(check.Normal(check.Rand(1), 10*c.HiddenSize, 1), 10, c.HiddenSize),
		"sequences": autograd.SequenceValue(q),
	}
	wrt := []string{"x"}
	for i, p := range m.Params() {
		values[p.Name] = autograd.Float64s(check.Normal(check.Rand(uint64(i)), p.Size(), 0.4), p.Shape...)
		wrt = append(wrt, p.Name)
	}
	autograd.GradientCheck(t, values, wrt, func(g *autograd.Graph) []*autograd.Node {
		b, err := NewBlockGraph(g, m, 10, c.HiddenSize, q)
		if err != nil {
			t.Fatal(err)
		}
		return []*autograd.Node{b.Out}
	})
}

func TestParamsAreUniqueAndDecayIsKept(t *testing.T) {
	d, err := NewDecoder(smallConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range d.Params() {
		if seen[p.Name] {
			t.Errorf("%s is listed twice", p.Name)
		}
		seen[p.Name] = true
		spared := regexp.MustCompile(`\.(D|x_[rwkvag]|k_k|k_a|r_k)$`).MatchString(p.Name) || strings.HasSuffix(p.Name, "A_log") || strings.HasSuffix(p.Name, "dt_bias") || strings.HasSuffix(p.Name, ".bias") || strings.Contains(p.Name, "norm")
		if p.Decay == spared {
			t.Errorf("%s: weight decay is %v", p.Name, p.Decay)
		}
	}
	for _, name := range []string{"model.embed_tokens.weight", "model.layers.2.self_attn.dynamic_conv1d.kernel_generator.w2.bias", "model.norm.weight"} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestWindowStateDoesNotGrow(t *testing.T) {
	d, err := NewDecoder(smallConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.Index(d.Config.LayerTypes, "swa")
	short, long := d.Mixer(i).States(100), d.Mixer(i).States(10_000)
	for k := range short {
		if short[k].Size() != long[k].Size() || short[k].PerToken {
			t.Errorf("%s grows from %d to %d values", short[k].Name, short[k].Size(), long[k].Size())
		}
	}
	full := d.Mixer(slices.Index(d.Config.LayerTypes, "attn")).States(100)
	if !full[0].PerToken || full[0].Shape[0] != 100 {
		t.Errorf("the cache of full attention is %+v", full[0])
	}
}

func TestUnknownMixer(t *testing.T) {
	c := smallConfig(t)
	c.LayerTypes[1] = "hyena"
	_, err := NewDecoder(c)
	if err == nil || !strings.Contains(err.Error(), `layer 1: layers: layer type "hyena" is unknown, want one of attn, deltanet, gated_deltanet, gla, jet, mamba2, retnet, rwkv7, swa`) {
		t.Errorf("got error %v", err)
	}
}

// TestRecomputeKeepsOneTensorALayer: with activation checkpointing the gradients are the same to the bit, and every further
// layer costs the memory of its residual sum and no more.
func TestRecomputeKeepsOneTensorALayer(t *testing.T) {
	const n = 64
	gradients := func(layers int, recompute bool) (values [][]float32, arena int64) {
		c := smallConfig(t)
		c.LayerTypes = slices.Repeat([]string{"jet"}, layers)
		c.NumLayers = layers
		d, err := NewDecoder(c)
		if err != nil {
			t.Fatal(err)
		}
		g := autograd.NewGraph(autograd.Float32)
		in := Inputs{IDs: g.Ints("ids", n), Seq: g.Sequences("sequences", 1)}
		labels := g.Ints("labels", n)
		loss := g.LinearCrossEntropy(d.Forward(g, in).Hidden, d.Head(g, ""), labels, 1).Value
		wrt := []*autograd.Node{g.Inputs()["model.norm.weight"], g.Inputs()["model.layers.0.self_attn.q_proj.weight"], g.Inputs()["model.layers.0.mlp.up_proj.weight"]}
		outs := g.Backward(loss, wrt, autograd.BackwardConfig{Recompute: recompute})
		m := onCPU(t)
		ids := autograd.Int32s(someIDs(n, c.VocabSize))
		e := m.executor(t, g, map[*autograd.Node]autograd.Value{in.IDs: ids, labels: ids, in.Seq: autograd.SequenceValue(packed.Batch(1, n))}, outs...)
		m.bind(t, livelyWeights(d), e, g)
		if err := e.RunAll(); err != nil {
			t.Fatal(err)
		}
		for _, o := range outs {
			values = append(values, read(t, e, o))
		}
		return values, e.Memory().Arena
	}
	want, _ := gradients(4, false)
	got, four := gradients(4, true)
	for i := range want {
		check.Close(t, fmt.Sprintf("gradient %d", i), got[i], want[i], 0)
	}
	_, eight := gradients(8, true)
	// Two sums a layer, behind the mixer and behind the MLP, of which the first is inside the segment.
	if each := float64(eight-four) / 4; each > 1.5*4*n*24 {
		t.Errorf("a layer takes %.0f bytes, want those of one [%d, 24] tensor, %d", each, n, 4*n*24)
	}
}

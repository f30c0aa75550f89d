// Command jetblock builds a JetBlock of one's own, the linear attention of Jet-Nemotron, runs it forward and backward on
// random tokens and says how long that took. With -batch 16 -tokens 4096 it is the example of the official README.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
)

func main() {
	batch := flag.Int("batch", 1, "sequences")
	tokens := flag.Int("tokens", 1024, "tokens of each sequence")
	backward := flag.Bool("backward", true, "also compute the gradients of the input and of every weight")
	threads := flag.Int("threads", runtime.NumCPU(), "cores to use")
	flag.Parse()
	block := layers.JetBlock{
		Hidden: 1536, Heads: 6, KeyDim: 256, ExpandV: 2, ConvSize: 4, Reduction: 8, NormEps: 1e-5, InitStd: 0.02,
	}
	if err := run(block, *batch, *tokens, *threads, *backward); err != nil {
		fmt.Fprintln(os.Stderr, "jetblock:", err)
		os.Exit(1)
	}
}

func run(block layers.JetBlock, batch, tokens, threads int, backward bool) error {
	if batch < 1 || tokens < 1 {
		return fmt.Errorf("-batch is %d and -tokens %d, want 1 or more of each", batch, tokens)
	}
	if err := block.Validate(); err != nil {
		return err
	}
	n, seqs := batch*tokens, packed.Batch(batch, tokens)

	// The block as nodes of a graph: x [N, hidden] goes in, out [N, hidden] comes out.
	g := autograd.NewGraph(autograd.Float32)
	b, err := layers.NewBlockGraph(g, block, n, block.Hidden, seqs)
	if err != nil {
		return err
	}
	outputs := []*autograd.Node{b.Out}
	values := map[*autograd.Node]autograd.Value{
		b.X:   autograd.Float32s(random(n*block.Hidden), n, block.Hidden),
		b.Seq: autograd.SequenceValue(seqs),
	}
	wrt, count := []*autograd.Node{b.X}, 0
	for _, p := range block.Params() {
		wrt, count = append(wrt, b.Params[p.Name]), count+p.Size()
		values[b.Params[p.Name]] = autograd.Float32s(p.Draw(1), p.Shape...)
	}
	if backward { // the gradients for a random gradient at the output
		dout := g.Input("gradient", autograd.Data, n, block.Hidden)
		values[dout] = autograd.Float32s(random(n*block.Hidden), n, block.Hidden)
		outputs = append(outputs, g.BackwardFrom(outputs, []*autograd.Node{dout}, wrt, autograd.BackwardConfig{})...)
	}

	// Compile once, run as often as one likes.
	plan, err := autograd.Compile(g, outputs...)
	if err != nil {
		return err
	}
	cores := cpu.New(threads)
	defer cores.Close()
	e := autograd.NewExecutor(plan, autograd.OnCPU(cores))
	for node, v := range values {
		if err := e.Bind(node, v); err != nil {
			return err
		}
	}
	fmt.Printf("JetBlock: hidden %d, %d heads, key dim %d, expand_v %v: %d parameters\n", block.Hidden, block.Heads, block.KeyDim, block.ExpandV, count)
	m := plan.Memory()
	fmt.Printf("%d × %d tokens: %.1f GFLOP, %.0f MiB of weights and inputs, %.0f MiB in between\n", batch, tokens,
		float64(plan.FLOPs())/1e9, float64(m.Parameters+m.Data)/(1<<20), float64(m.Arena)/(1<<20))
	for range 2 { // the first run warms up
		start := time.Now()
		if err := e.RunAll(); err != nil {
			return err
		}
		d := time.Since(start)
		fmt.Printf("%v, %.0f tokens/s, %.1f GFLOP/s\n", d.Round(time.Millisecond), float64(n)/d.Seconds(), float64(plan.FLOPs())/d.Seconds()/1e9)
	}
	fmt.Printf("out[0, :4] = %.5f\n", e.Value(b.Out).F32[:4])
	return nil
}

func random(n int) []float32 { return check.To[float32](check.Normal(check.Rand(1), n, 1)) }

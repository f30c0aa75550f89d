package supernet

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/train"
)

func layerName(i int) string { return fmt.Sprintf("model.layers.%d.", i) }

// program is a compiled part of the model.
type program struct {
	exec   *autograd.Executor
	x      *autograd.Node            // input [N, D], nil for the embedding
	y      *autograd.Node            // output
	params map[string]*autograd.Node // of the body
	layer  int                       // whose names stand in it; those of other layers are bound in their place
}

// part tells the programs of layers apart: a body that is a model of its own has layers of several types.
type part struct {
	kind      search.Kind
	layerType string
}

// bind gives the program the weights of layer i; programs without a layer have none of its names.
func (p *program) bind(w layers.Weights, i int) error {
	for name, node := range p.params {
		if rest, ok := strings.CutPrefix(name, layerName(p.layer)); ok {
			name = layerName(i) + rest
		}
		if err := p.exec.Bind(node, w[name]); err != nil {
			return err
		}
	}
	return nil
}

// runner runs parts of the network on batches of one size.
type runner struct {
	net         *Net
	tokens      int
	docs        int
	ids, seq    []int32
	labels      []int32 // next tokens
	compared    []int32 // tokens on which a stream is compared with the teacher's
	embed       [search.Kinds]*program
	forward     map[part]*program
	activations []autograd.Value // [N, D] each, by use
	runs        int64            // layers that were run forward
	flops       int64            // of all that was run
}

func newRunner(n *Net, tokens, docs int) *runner {
	return &runner{net: n, tokens: tokens, docs: docs, ids: make([]int32, tokens), seq: make([]int32, 3*(docs+1)), labels: make([]int32, tokens), compared: make([]int32, tokens), forward: map[part]*program{}}
}

// room makes sure of count activations and returns them.
func (r *runner) room(count int) ([]autograd.Value, error) {
	for len(r.activations) < count {
		v, err := r.net.machine.Zeros(autograd.Float32, autograd.Data, r.tokens, r.net.hidden())
		if err != nil {
			return nil, err
		}
		r.activations = append(r.activations, v)
	}
	return r.activations, nil
}

// load puts a batch in place.
func (r *runner) load(b train.Batch) error {
	if len(b.IDs) > r.tokens || len(b.Cu)-1 > r.docs || len(b.Cu) < 2 {
		return fmt.Errorf("supernet: a batch of %d tokens and %d documents, want at most %d and %d", len(b.IDs), len(b.Cu)-1, r.tokens, r.docs)
	}
	clear(r.ids)
	copy(r.ids, b.IDs)
	autograd.SetSequences(r.seq, packed.Sequences{Cu: b.Cu})
	return nil
}

// builder is a graph with the inputs that programs share.
type builder struct {
	*runner
	g    *autograd.Graph
	in   layers.Inputs
	data map[*autograd.Node]autograd.Value
}

func (r *runner) build() *builder {
	b := &builder{runner: r, g: autograd.NewGraph(autograd.Float32), data: map[*autograd.Node]autograd.Value{}}
	b.in = layers.Inputs{IDs: b.ints("ids", r.ids, r.tokens), Seq: b.ints("sequences", r.seq, 3, r.docs+1)}
	return b
}

func (b *builder) ints(name string, v []int32, shape ...int) *autograd.Node {
	n := b.g.Ints(name, shape...)
	b.data[n] = autograd.Int32s(v, shape...)
	return n
}

func (b *builder) stream(name string) *autograd.Node {
	return b.g.Input(name, autograd.Data, b.tokens, b.net.hidden())
}

// compile plans outs. The weights of owner "" are named for bind; others are bound here.
func (b *builder) compile(x *autograd.Node, outs ...*autograd.Node) (*program, error) {
	plan, err := autograd.Compile(b.g, outs...)
	if err != nil {
		return nil, err
	}
	p := &program{exec: autograd.NewExecutor(plan, b.net.machine), x: x, y: outs[0], params: map[string]*autograd.Node{}}
	for name, node := range b.g.Inputs() {
		if b.g.RoleOf(node) == autograd.Parameter && !strings.HasPrefix(name, teacherOwner) {
			p.params[name] = node
		}
	}
	for node, v := range b.data {
		if err := p.exec.Bind(node, v); err != nil {
			return nil, err
		}
	}
	if err := b.net.placed.Bind(p.exec, b.g, teacherOwner); err != nil {
		return nil, err
	}
	return p, nil
}

// teacherOwner goes before the names of the teacher's weights where a program has both.
const teacherOwner = "teacher/"

// start embeds the loaded batch into x.
func (r *runner) start(k search.Kind, x autograd.Value) error {
	body := r.net.bodies[k]
	if r.embed[k] == nil {
		b := r.build()
		p, err := b.compile(nil, body.Decoder.Embed(b.g, b.in))
		if err == nil {
			err = p.bind(body.weights, 0)
		}
		if err != nil {
			return err
		}
		r.embed[k] = p
	}
	p := r.embed[k]
	if err := r.run(p.exec); err != nil {
		return err
	}
	r.net.machine.Copy(x, p.exec.Value(p.y))
	return nil
}

// step runs layer i forward, from x to y.
func (r *runner) step(k search.Kind, i int, x, y autograd.Value) error {
	body := r.net.bodies[k]
	key := part{k, body.Decoder.Config.LayerTypes[i]}
	p := r.forward[key]
	if p == nil {
		b := r.build()
		xn := b.stream("x")
		var err error
		if p, err = b.compile(xn, body.Decoder.Layer(b.g, b.in, i, xn)); err != nil {
			return err
		}
		p.layer = i
		r.forward[key] = p
	}
	if err := errors.Join(p.bind(body.weights, i), p.exec.Bind(p.x, x)); err != nil {
		return err
	}
	if err := r.run(p.exec); err != nil {
		return err
	}
	r.runs++
	r.net.machine.Copy(y, p.exec.Value(p.y))
	return nil
}

// run runs an executor, and counts.
func (r *runner) run(e *autograd.Executor) error {
	r.flops += e.FLOPs()
	return e.RunAll()
}

// close gives the memory of a device back.
func (r *runner) close() error {
	var errs []error
	for _, p := range r.embed {
		if p != nil {
			errs = append(errs, p.exec.Close())
		}
	}
	for _, p := range r.forward {
		errs = append(errs, p.exec.Close())
	}
	for _, v := range r.activations {
		r.net.machine.Free(v)
	}
	return errors.Join(errs...)
}

package adamw

import (
	"fmt"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

// Conformance is steps of the optimiser and sums of gradients, for tests and for doctor.
func Conformance() []check.Case {
	var cases []check.Case
	for _, s := range []stepSize{
		{lengths: []int{1}, step: 1},
		{lengths: []int{7, 0, 1031, 4}, step: 1},
		{lengths: []int{devicePart + 5, 63, 64, 65}, step: 1000},
		{lengths: []int{130}, step: 3, bad: true},
	} {
		cases = append(cases, s.full(), s.half(false), s.half(true))
		if !s.bad {
			cases = append(cases, s.sums())
		}
	}
	return cases
}

// stepSize is one step of tensors of these lengths, or none where the gradients' norm is bad: not finite.
type stepSize struct {
	lengths []int
	step    int
	bad     bool
}

const clipFactor, learningRate = 0.25, 1e-2

func (s stepSize) String() string {
	return fmt.Sprintf("lengths %v, step %d", s.lengths, s.step) + map[bool]string{true: ", norm not finite"}[s.bad]
}

func (s stepSize) param(i int) DeviceParam {
	return DeviceParam{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.1 * float64(i%2)}
}

// tensors is the operands of all tensors, each of them made by these.
func (s stepSize) tensors(first []check.Operand, of func(i, n int) []check.Operand) []check.Operand {
	for i, n := range s.lengths {
		first = append(first, of(i, n)...)
	}
	return first
}

// draw is n numbers for operand k of tensor i, not negative where square.
func draw(i, k, n int, square bool) []float64 {
	x := check.Normal(check.Rand(uint64(10*i+k)), n, 0.3)
	for j := range x {
		if square {
			x[j] *= x[j]
		}
	}
	return x
}

func (s stepSize) shared() []check.Operand {
	return []check.Operand{{Name: "clip", Float: []float64{4, clipFactor}, Wide: true}, {Name: "settings", Float: []float64{learningRate, float64(s.step)}, Wide: true}}
}

// args are those of the CPU for tensor i whose operands p, m, v, g begin at a.
func argsOf[T float32 | float64](s stepSize, i int, p, m, v, g []T) *Args[T] {
	d := s.param(i)
	return &Args[T]{LearningRate: float64(float32(learningRate)), Beta1: d.Beta1, Beta2: d.Beta2, Epsilon: d.Epsilon, WeightDecay: d.WeightDecay,
		Step: s.step, GradScale: clipFactor, Param: p, M: m, V: v, G: g}
}

// full is float32 parameters without masters: per tensor param, m, v, g, done.
func (s stepSize) full() check.Case {
	args := s.tensors(s.shared(), func(i, n int) []check.Operand {
		return []check.Operand{{Name: "param", Role: check.State, Float: draw(i, 0, n, false)}, {Name: "m", Role: check.State, Float: draw(i, 1, n, false)},
			{Name: "v", Role: check.State, Float: draw(i, 2, n, true)}, {Name: "g", Float: draw(i, 3, n, false)},
			{Name: "done", Role: check.Result, Float: make([]float64, 1)}}
	})
	return check.Case{
		Op: "adamw", Size: s.String(), Args: args, Only: []device.Type{device.Float32},
		Reference: func(a [][]float64) {
			s.each(func(i int) { stepOf(s, i, a[2+5*i:], Reference[float64]) })
		},
		CPU: func(c *cpu.Cores, a [][]float32) {
			s.each(func(i int) { stepOf(s, i, a[2+5*i:], func(x *Args[float32]) { Step(c, x) }) })
		},
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
			s.launch(q, a, 5, func(p *DeviceParam, a []device.Tensor) {
				p.Param, p.M, p.V, p.G, p.Done = a[0], a[1], a[2], a[3], a[4]
			})
		},
	}
}

func (s stepSize) each(f func(i int)) {
	for i := range s.lengths {
		f(i)
	}
}

func stepOf[T float32 | float64](s stepSize, i int, a [][]T, step func(*Args[T])) {
	if a[4][0] = 0; !s.bad {
		a[4][0] = 1
		step(argsOf(s, i, a[0], a[1], a[2], a[3]))
	}
}

func (s stepSize) launch(q *device.Queue, a []device.Tensor, each int, set func(p *DeviceParam, a []device.Tensor)) {
	params := make([]DeviceParam, len(s.lengths))
	for i := range params {
		params[i] = s.param(i)
		set(&params[i], a[2+each*i:])
	}
	clip := a[0]
	if s.bad {
		clip = q.New(device.Float32, 2)
		q.Poison(clip)
		defer q.Free(clip)
	}
	t := NewTable(q, params)
	DeviceStep(q, &DeviceArgs{Table: t, Clip: clip, Settings: a[1]})
	t.Free()
}

// half is bfloat16 parameters with masters, and gradients of bfloat16 or float32: param, master, m, v, g, done.
func (s stepSize) half(wide bool) check.Case {
	args := s.tensors(s.shared(), func(i, n int) []check.Operand {
		return []check.Operand{{Name: "param", Role: check.State, Float: draw(i, 0, n, false)}, {Name: "master", Role: check.State, Float: draw(i, 0, n, false), Wide: true},
			{Name: "m", Role: check.State, Float: draw(i, 1, n, false), Wide: true}, {Name: "v", Role: check.State, Float: draw(i, 2, n, true), Wide: true},
			{Name: "g", Float: draw(i, 3, n, false), Wide: wide}, {Name: "done", Role: check.Result, Float: make([]float64, 1), Wide: true}}
	})
	// Masters and moments are float32: they are held to its tolerance.
	for i := range args {
		if args[i].Role == check.State && args[i].Wide {
			args[i].Tolerance = check.Device32
		}
	}
	return check.Case{
		Op: "adamw", Size: s.String() + map[bool]string{true: ", gradients float32"}[wide], Args: args, Only: []device.Type{device.BF16},
		Reference: func(a [][]float64) {
			s.each(func(i int) {
				t := a[2+6*i:]
				stepOf(s, i, t[1:], Reference[float64])
				if !s.bad {
					copy(t[0], t[1])
				}
			})
		},
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
			s.launch(q, a, 6, func(p *DeviceParam, a []device.Tensor) {
				p.Param, p.Master, p.M, p.V, p.G, p.Done = a[0], a[1], a[2], a[3], a[4], a[5]
			})
		},
	}
}

// sums is running sums: sum, g, done.
func (s stepSize) sums() check.Case {
	args := s.tensors(nil, func(i, n int) []check.Operand {
		return []check.Operand{{Name: "sum", Role: check.State, Float: draw(i, 0, n, false), Wide: true, Tolerance: check.Device32}, {Name: "g", Float: draw(i, 1, n, false)},
			{Name: "done", Role: check.Result, Float: make([]float64, 1), Wide: true}}
	})
	return check.Case{
		Op: "accumulate", Size: fmt.Sprintf("lengths %v", s.lengths), Args: args,
		Reference: func(a [][]float64) {
			s.each(func(i int) {
				for k, g := range a[3*i+1] {
					a[3*i][k] += g
				}
				a[3*i+2][0] = 1
			})
		},
		GPU: func(q *device.Queue, a []device.Tensor, _ device.Tensor) {
			sums := make([]DeviceSum, len(s.lengths))
			s.each(func(i int) { sums[i] = DeviceSum{Sum: a[3*i], G: a[3*i+1], Done: a[3*i+2]} })
			t := NewSums(q, sums)
			DeviceAccumulate(q, t)
			t.Free()
		},
	}
}

package train

import (
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/cpu"
)

// BenchmarkStep is a whole optimiser step of a hybrid of hidden 16, and of the sum of its kernels: what the trainer and the
// executor add is the difference.
func BenchmarkStep(b *testing.B) {
	for _, c := range []struct {
		name         string
		rows, length int
	}{{"2×64", 2, 64}, {"8×256", 8, 256}} {
		b.Run(c.name, func(b *testing.B) {
			s := smallStage(1 << 30)
			s.Schedule.Kind, s.Schedule.Warmup = Constant, 0
			s.Rows, s.Length = c.rows, c.length
			cores := cpu.New(2)
			defer cores.Close()
			l, err := newLearner(s, smallNet(b, "jet", "attn", "jet"), nil, autograd.OnCPU(cores), 2*c.rows, nil)
			if err != nil {
				b.Fatal(err)
			}
			data := counting{c.rows, c.length}
			batch, _ := data.Batch(1)
			batches := []Batch{batch}
			l.micro.exec.Profile, l.update.Profile = true, true
			step := 0
			for b.Loop() {
				if _, err := l.step(step, step, batches); err != nil {
					b.Fatal(err)
				}
				step++
			}
			var kernels float64
			for _, t := range append(l.micro.exec.Times(), l.update.Times()...) {
				kernels += t.Time.Seconds()
			}
			b.ReportMetric(b.Elapsed().Seconds()/kernels, "step/kernels")
		})
	}
}

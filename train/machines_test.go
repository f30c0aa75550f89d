package train

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

// openDevice opens a device, or skips the test where there is none.
func openDevice(t *testing.T) *autograd.Machine {
	t.Helper()
	cores := cpu.New(2)
	t.Cleanup(cores.Close)
	return autograd.OnDevice(check.OpenDevice(t), device.BF16, cores)
}

// eachMachine runs f on the CPU and on a device in both precisions.
func eachMachine(t *testing.T, f func(t *testing.T, m *autograd.Machine, p Precision)) {
	t.Helper()
	t.Run("cpu", func(t *testing.T) {
		cores := cpu.New(2)
		defer cores.Close()
		f(t, autograd.OnCPU(cores), Auto)
	})
	for _, p := range []Precision{Float32, BF16} {
		t.Run(string(p)+" on a device", func(t *testing.T) { f(t, openDevice(t), p) })
	}
}

// TestReferenceDistillationOnDevice repeats all stored steps on a device. In float32 every loss holds; in bf16 the course.
func TestReferenceDistillationOnDevice(t *testing.T) {
	dir := filepath.Join(fixtures.Dir(t), "distill")
	f := fixtures.Load(t, filepath.Join(dir, "expected.safetensors"))
	shape := f.Shape("batches")
	steps, rows, length := shape[0], shape[1], shape[2]
	ids, loss := f.Int64("batches"), f.Float32("loss")
	for _, tc := range []struct {
		precision Precision
		tol       float64
	}{{Float32, 1e-3}, {BF16, 5e-2}} {
		t.Run(string(tc.precision), func(t *testing.T) {
			m := openDevice(t)
			if m.Device.Info().Emulated {
				steps = min(steps, 2)
			}
			teacher := loadNet(t, filepath.Join(dir, "teacher"))
			s := referenceStage()
			s.Precision, s.Rows, s.Length = tc.precision, rows, length
			tr := &Trainer{Stage: s, Student: loadNet(t, filepath.Join(dir, "student_init")), Teacher: &teacher, Data: counting{rows, length}, Machine: m}
			if err := tr.prepare(Progress{}, nil); err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			for step := range steps {
				at := step * rows * length
				r, err := tr.learner.step(step, step, []Batch{rowsBatch(ids[at:at+rows*length], rows, length)})
				if err != nil {
					t.Fatal(err)
				}
				e := math.Abs(r.Loss-float64(loss[step])) / float64(loss[step])
				if !(e <= tc.tol) {
					t.Errorf("step %d: loss %v, want %v (relative error %.2g)", step, r.Loss, loss[step], e)
				}
				t.Logf("step %d: relative error %.2g", step, e)
			}
		})
	}
}

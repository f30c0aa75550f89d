package train

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
)

func loadNet(t *testing.T, dir string) Net {
	t.Helper()
	c, err := checkpoints.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d, err := layers.NewDecoder(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Load(c, layers.Float32)
	if err != nil {
		t.Fatal(err)
	}
	return Net{d, w}
}

// referenceStage is the recipe of the reference distillation.
func referenceStage() Stage {
	s := DefaultStage()
	s.Name, s.Model, s.Teacher, s.Steps = "distill", "student", "teacher", 30
	s.Train = []string{"*.self_attn.*"}
	s.Loss = Loss{KL: 1, Temperature: 1}
	s.Optimizer = Optimizer{LR: 3e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, ClipNorm: 1}
	s.Schedule = Schedule{Kind: Cosine, Warmup: 5, MinLR: 3e-4}
	return s
}

// rowsBatch makes documents of equal length out of ids [rows, length].
func rowsBatch(ids []int64, rows, length int) Batch {
	b := Batch{Cu: packed.Batch(rows, length).Cu}
	for i, id := range ids {
		b.IDs = append(b.IDs, int32(id))
		if (i+1)%length == 0 {
			b.Labels = append(b.Labels, -100)
		} else {
			b.Labels = append(b.Labels, int32(ids[i+1]))
		}
	}
	return b
}

// TestReferenceDistillation repeats the first of the stored steps, loss, gradient norm and learning rate, also with the batch
// split into micro-batches and activations recomputed. All 30 steps and the final weights are compared where the recipe
// is run.
func TestReferenceDistillation(t *testing.T) {
	dir := filepath.Join(fixtures.Dir(t), "distill")
	f := fixtures.Load(t, filepath.Join(dir, "expected.safetensors"))
	shape := f.Shape("batches")
	steps, rows, length := shape[0], shape[1], shape[2]
	ids, loss, norm, lr := f.Int64("batches"), f.Float32("loss"), f.Float32("grad_norm"), f.Float32("lr")
	teacher := loadNet(t, filepath.Join(dir, "teacher"))
	teacher.Weights = teacher.Weights.In(autograd.Float64)
	for _, tc := range []struct {
		accumulate int
		recompute  bool
	}{{1, false}, {2, true}} {
		t.Run(fmt.Sprintf("accumulate=%d recompute=%v", tc.accumulate, tc.recompute), func(t *testing.T) {
			student := loadNet(t, filepath.Join(dir, "student_init"))
			student.Weights = student.Weights.In(autograd.Float64)
			s := referenceStage()
			s.Precision = Float64
			s.Rows, s.Length, s.Accumulate, s.Recompute = rows/tc.accumulate, length, tc.accumulate, tc.recompute
			if err := s.Validate(); err != nil {
				t.Fatal(err)
			}
			cores := cpu.New(2)
			defer cores.Close()
			l, err := newLearner(s, student, &teacher, autograd.OnCPU(cores), s.Rows, nil)
			if err != nil {
				t.Fatal(err)
			}
			for step := range min(steps, 8) {
				var batches []Batch
				for k := range tc.accumulate {
					at := (step*rows + k*s.Rows) * length
					batches = append(batches, rowsBatch(ids[at:at+s.Rows*length], s.Rows, length))
				}
				r, err := l.step(step, step, batches)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range []struct {
					name      string
					got, want float64
				}{{"loss", r.Loss, float64(loss[step])}, {"gradient norm", r.GradNorm, float64(norm[step])}, {"learning rate", r.LR, float64(lr[step])}} {
					if e := math.Abs(v.got-v.want) / math.Abs(v.want); !(e <= 1e-4) {
						t.Errorf("step %d: %s %v, want %v (relative error %.2g)", step, v.name, v.got, v.want, e)
					}
				}
			}
		})
	}
}

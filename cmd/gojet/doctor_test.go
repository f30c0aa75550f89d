package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gojet/gojet/kernels/check"
)

func doctorCalls() []call {
	return []call{
		{name: "one operation", args: []string{"doctor", "--device", "cpu", "--filter", "rmsnorm", "--timeout", "1m"}, parts: []string{
			"cpu  ", "\ngpu  none: not asked for\n", "\noperation ", "verdict", "\nrmsnorm ", "\nrmsnorm backward ", " ok "}},
		{name: "json", args: []string{"doctor", "--device", "cpu", "--filter", "swiglu", "--json"}, parts: []string{
			`"failed": 0`, `"op": "swiglu backward"`, `"worst_error": `, `"threads": `}},
		{name: "no such operation", args: []string{"doctor", "--filter", "hyena"}, code: 1, err: `no operation has "hyena" in its name`},
		{name: "no such device", args: []string{"doctor", "--device", "tpu"}, code: 1, err: `--device is "tpu", want cpu, cuda or auto`},
		{name: "no time", args: []string{"doctor", "--timeout", "0s"}, code: 1, err: "--timeout is 0s, want more than 0"},
		{name: "argument", args: []string{"doctor", "now"}, code: 1, err: `unknown command "now"`},
	}
}

// TestDoctorOutlivesHangs: a case without an end is reported, and one in time is not.
func TestDoctorOutlivesHangs(t *testing.T) {
	v := check.Verdict{Op: "conv", Size: "N 1", Machine: "gpu"}
	stuck := make(chan finding)
	r, hangs := within(time.Millisecond, v, func() finding { return <-stuck })
	close(stuck)
	if !hangs || r.Op != "conv" || !strings.Contains(r.Error, "the kernel hangs") {
		t.Errorf("got %+v, hangs %t", r, hangs)
	}
	if r, hangs = within(time.Hour, v, func() finding { return finding{Op: "done"} }); hangs || r.Op != "done" {
		t.Errorf("got %+v, hangs %t", r, hangs)
	}
}

// TestDoctorReportsFailures: a wrong case is named, and makes the command fail.
func TestDoctorReportsFailures(t *testing.T) {
	found := []finding{
		findingOf(check.Verdict{Op: "conv", Size: "N 1", Machine: "cpu", Worst: 1e-7, Tolerance: 1e-5}),
		findingOf(check.Verdict{Op: "conv", Size: "N 65", Machine: "cpu", Worst: 2e-3, Tolerance: 1e-5, Err: errors.New("dx: relative error 2e-3")}),
		examine(check.Verdict{Op: "conv", Size: "N 63", Machine: "gpu"}, func() check.Verdict { panic("no such shape") }),
	}
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		f := doctorFlags{json: asJSON}
		if err := f.report(&out, hardwareOf(nil, "sold"), found); err == nil || err.Error() != "2 of 3 cases failed" {
			t.Errorf("got %v", err)
		}
		for _, part := range map[bool][]string{
			false: {"gpu  none: sold", "conv       cpu  float32  2      2.0e-03      1e-05      1 WRONG", "conv (N 65) on the cpu in float32: dx: relative error 2e-3", "panic: no such shape"},
			true:  {`"no_gpu": "sold"`, `"failed": 2`, `"error": "panic: no such shape"`},
		}[asJSON] {
			if !strings.Contains(out.String(), part) {
				t.Errorf("output lacks %q:\n%s", part, &out)
			}
		}
	}
}

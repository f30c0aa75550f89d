package conv

import (
	"testing"

	"github.com/gojet/gojet/kernels/check"
)

func TestConformance(t *testing.T) { check.Battery(t, Conformance(), Large) }

package device

import (
	"errors"
	"testing"
)

func TestOpenSaysWhatIsMissing(t *testing.T) {
	d, err := Open(0)
	if err == nil {
		if d.Info().Name == "" {
			t.Error("an open device has no name")
		}
		return
	}
	if !errors.Is(err, ErrNone) {
		t.Errorf("got %v, want ErrNone", err)
	}
}

package infer

import "testing"

func TestAssume(t *testing.T) {
	d, w := everyMixer(t)
	e := engine(t, d, w, Config{Rows: 2, Capacity: 8, Chunk: 4})
	for _, tc := range [][2]int{{-1, 1}, {2, 1}, {0, -1}, {0, 9}} {
		if err := e.Assume(tc[0], tc[1]); err == nil {
			t.Errorf("row %d, %d tokens: no error", tc[0], tc[1])
		}
	}
	if err := e.Assume(1, 7); err != nil {
		t.Fatal(err)
	}
	if _, err := e.FeedRow(1, someIDs(1)); err != nil {
		t.Error(err)
	}
	if _, err := e.FeedRow(1, someIDs(1)); err == nil {
		t.Error("an eighth token after eight fits")
	}
}

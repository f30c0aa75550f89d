package main

import (
	"encoding/json"
	"fmt"
	"image/color"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// paperRow is what the Jet-Nemotron paper (https://arxiv.org/abs/2508.15884) measured at one context length on an H100: batch and prefill
// chunk of the 2B model, and how many times as fast as Qwen3-1.7B-Base it was.
type paperRow struct {
	batch, chunk    int
	decode, prefill float64
}

// paperSweep is by context length.
var paperSweep = map[int]paperRow{
	4096:   {1024, 256, 15.6, 1.14},
	8192:   {512, 512, 23.3, 1.15},
	16384:  {512, 512, 39.6, 1.37},
	32768:  {256, 1024, 44.1, 1.74},
	65536:  {128, 2048, 47.5, 2.54},
	131072: {128, 2048, 51.6, 4.03},
	262144: {64, 2048, 53.6, 6.14},
}

func paperLengths() []int { return slices.Sorted(maps.Keys(paperSweep)) }

// throughputRow is one measurement, as JSON.
type throughputRow struct {
	Model        string `json:"model"`
	Random       bool   `json:"random_weights"`
	PromptLen    int    `json:"prompt_len"`
	Batch        int    `json:"batch_size"`
	MaxNewTokens int    `json:"max_new_tokens"`
	Chunk        int    `json:"prefill_chunk_size"`
	PrefillBatch int    `json:"prefill_batch"`
	PrefillRows  int    `json:"prefill_rows"` // sequences that took a prompt; the others had copies of their state
	Rounds       int    `json:"rounds"`
	Warmup       int    `json:"warmup"`

	Prefill    *spread `json:"prefill_tokens_per_second,omitempty"` // none where no sequence took a prompt
	FirstToken *spread `json:"first_token_seconds,omitempty"`
	Decode     *spread `json:"decode_tokens_per_second,omitempty"`

	CacheBytes         int64  `json:"cache_bytes_per_sequence"`
	CacheBytesComputed int64  `json:"cache_bytes_per_sequence_computed"`
	WeightBytes        int64  `json:"weight_bytes"`
	PeakBytes          int64  `json:"peak_bytes"`
	Error              string `json:"error,omitempty"`
}

// speedup is how many times as fast the first model is as the second at one context length.
type speedup struct {
	PromptLen    int     `json:"prompt_len"`
	Decode       float64 `json:"decode,omitempty"`
	Prefill      float64 `json:"prefill,omitempty"`
	PaperDecode  float64 `json:"paper_decode,omitempty"`
	PaperPrefill float64 `json:"paper_prefill,omitempty"`
}

func speedups(first, second []throughputRow) []speedup {
	var all []speedup
	for i, a := range first {
		b := second[i]
		s := speedup{PromptLen: a.PromptLen, PaperDecode: paperSweep[a.PromptLen].decode, PaperPrefill: paperSweep[a.PromptLen].prefill}
		if a.Decode != nil && b.Decode != nil {
			s.Decode = a.Decode.Mean / b.Decode.Mean
		}
		if a.Prefill != nil && b.Prefill != nil {
			s.Prefill = a.Prefill.Mean / b.Prefill.Mean
		}
		all = append(all, s)
	}
	return all
}

// throughputReport is the whole of a benchmark.
type throughputReport struct {
	Hardware hardware        `json:"hardware"`
	Rows     []throughputRow `json:"rows"`
	Compared []throughputRow `json:"compared,omitempty"`
	Speedups []speedup       `json:"speedups,omitempty"`
}

func (r *throughputReport) write(out io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	if err := r.Hardware.print(out); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "model\tprompt\tbatch\tchunk\tfed\tprefill tokens/s\tfirst token s\tdecode tokens/s\tcache MiB\tweights GiB\tpeak GiB")
	rows := slices.Concat(r.Rows, r.Compared)
	for _, m := range rows {
		if m.Error != "" {
			fmt.Fprintf(w, "%s\t%d\t%d\tfailed: %s\n", m.Model, m.PromptLen, m.Batch, m.Error)
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%.1f\t%.2f\t%.2f\n", m.Model, m.PromptLen, m.Batch, m.Chunk, m.PrefillRows, m.Prefill.print(),
			m.FirstToken.print(), m.Decode.print(), float64(m.CacheBytes)/(1<<20), float64(m.WeightBytes)/(1<<30), float64(m.PeakBytes)/(1<<30))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	m := r.Rows[0]
	fmt.Fprintf(out, "\n%d tokens an answer, %d rounds after %d that warm up; ± is a round's standard deviation\n", m.MaxNewTokens, m.Rounds-m.Warmup, m.Warmup)
	for _, line := range copying(rows) {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return r.writeSpeedups(out)
}

// copying says where not every sequence took a prompt, once for all rows that are alike in this.
func copying(rows []throughputRow) []string {
	var lines []string
	for _, m := range rows {
		if m.Error != "" || m.PrefillRows >= m.Batch {
			continue
		}
		from := fmt.Sprintf("copies of the state of the %d that did", m.PrefillRows)
		if m.PrefillRows == 0 {
			from = "state of zeros"
		}
		line := fmt.Sprintf("%d of %d sequences took a prompt; the others began their answers from %s", m.PrefillRows, m.Batch, from)
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

func (r *throughputReport) writeSpeedups(out io.Writer) error {
	if len(r.Speedups) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s against %s\nprompt\tdecode\tpaper\tprefill\tpaper\n", r.Rows[0].Model, r.Compared[0].Model)
	for _, s := range r.Speedups {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", s.PromptLen, some("%.2f×", s.Decode), some("%.1f×", s.PaperDecode), some("%.2f×", s.Prefill), some("%.2f×", s.PaperPrefill))
	}
	return w.Flush()
}

// plot draws the speeds of the models over the context length, both axes logarithmic: decoding in full lines, prompts in dashes.
func (r *throughputReport) plot(path string) error {
	// Colours that are told apart by people of all kinds of colour vision.
	colours := []color.Color{color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff}}
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "tokens of a prompt", "tokens/s"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.BackgroundColor, p.Legend.Top = color.White, true
	drawn := 0
	for i, rows := range [][]throughputRow{r.Rows, r.Compared} {
		for _, line := range []struct {
			what   string
			of     func(throughputRow) *spread
			dashes []vg.Length
		}{
			{"decode", func(m throughputRow) *spread { return m.Decode }, nil},
			{"prefill", func(m throughputRow) *spread { return m.Prefill }, []vg.Length{vg.Points(4), vg.Points(3)}},
		} {
			var points plotter.XYs
			for _, m := range rows {
				if s := line.of(m); m.Error == "" && s != nil {
					points = append(points, plotter.XY{X: float64(m.PromptLen), Y: s.Mean})
				}
			}
			if len(points) == 0 {
				continue
			}
			l, dots, err := plotter.NewLinePoints(points)
			if err != nil {
				return fmt.Errorf("--plot: %w", err)
			}
			l.Color, l.Dashes, dots.Color, dots.Shape = colours[i], line.dashes, colours[i], draw.CircleGlyph{}
			p.Add(l, dots)
			p.Legend.Add(rows[0].Model+", "+line.what, l, dots)
			drawn++
		}
	}
	if drawn == 0 {
		return nil // every row failed, and says so
	}
	if err := p.Save(7*vg.Inch, 4*vg.Inch, path); err != nil {
		return fmt.Errorf("--plot: %w", err)
	}
	return nil
}

// Package datasets turns files of documents into batches of tokens: documents are tokenised once into a cache, put in
// order by a seed, mixed by weight and packed into rows. Any step's batch is found by arithmetic, without going through
// those before it.
//
// Config says what to read, Open makes or finds the caches, Data.Train and Data.HeldOut return Loaders.
package datasets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/gojet/gojet/datasets/source"
	"github.com/gojet/gojet/datasets/tokenizer"
)

// Options are what Open says while it works. Either may be nil.
type Options struct {
	// Progress is called now and then while documents are tokenised, by one goroutine at a time.
	Progress func(Progress)
	// Notice is called with what a user may want to know, such as a cache that had to be made anew.
	Notice func(string)
}

// Data is the tokenised documents of a configuration. Any number of goroutines may use it at once.
type Data struct {
	config  Config
	encoder *encoder
	names   []string // of the sources
	caches  []*cached
	streams []*stream
	time    int // tokens in a row that was packed beforehand
}

// Open finds the documents of the configuration and tokenises those that are in no cache yet.
func Open(ctx context.Context, c Config, o Options) (_ *Data, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	d := &Data{config: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if c.Tokenizer != "" {
		if d.encoder, err = newEncoder(&c); err != nil {
			return nil, err
		}
	}
	s, err := newStore(c.Cache, o.Notice)
	if err != nil {
		return nil, err
	}
	if c.Tokens != nil {
		err = d.openTokens(ctx, s)
	} else {
		err = d.openSources(ctx, s, o.Progress)
	}
	if err != nil {
		return nil, err
	}
	return d, d.makeStreams()
}

// Close gives the caches back. Loaders must not be used after.
func (d *Data) Close() error {
	var errs []error
	for _, c := range d.caches {
		errs = append(errs, c.close())
	}
	d.caches, d.streams = nil, nil
	return errors.Join(errs...)
}

// Tokenizer is the one that made the tokens, nil if the configuration has Tokens and none.
func (d *Data) Tokenizer() tokenizer.Tokenizer {
	if d.encoder == nil {
		return nil
	}
	return d.encoder.tok
}

// Key identifies the batches of every shape and step: it changes with the documents, the tokenizer, and all settings
// that have a say in the order. A run that goes on must find it the same.
func (d *Data) Key() string {
	h := sha256.New()
	c := &d.config
	fmt.Fprintf(h, "1 %d %v %v %d %q %v\n", c.Seed, c.HeldOut, c.Packing, c.MaxDocumentTokens, c.LongDocuments, c.MaskPrompt)
	for i, x := range d.caches {
		weight := 0.0
		if len(c.Sources) > 0 {
			weight = c.Sources[i].Weight
		}
		fmt.Fprintf(h, "%s %v\n", x.facts.Key, weight)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (d *Data) openSources(ctx context.Context, s *store, progress func(Progress)) error {
	for i, src := range d.config.sources() {
		key := "data.path"
		if d.config.Path == "" {
			key = fmt.Sprintf("data.sources[%d]", i)
		}
		files, err := source.Open(ctx, src.Spec)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		id, err := d.sourceKey(ctx, files)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		c, err := s.get(ctx, id, func(dir string) (*draft, error) {
			x, err := newDraft(dir)
			if err != nil {
				return nil, fmt.Errorf("datasets: cache: %w", err)
			}
			err = build(ctx, x, src.Path, files, d.encoder, d.config.Workers, progress)
			if err == nil && x.documents == 0 {
				err = fmt.Errorf("%s is empty: %d documents in %d files, none with text", src.Path, x.facts.Empty, len(files))
			}
			if err != nil {
				return nil, errors.Join(err, x.close())
			}
			return x, nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		d.names, d.caches = append(d.names, src.Path), append(d.caches, c)
	}
	return nil
}

// sourceKey is the key of the cache that holds the files' documents as the encoder sees them.
func (d *Data) sourceKey(ctx context.Context, files []source.File) (string, error) {
	keys := make([]string, len(files))
	errs := make([]error, d.config.Workers)
	var all sync.WaitGroup
	for w := range errs {
		all.Go(func() {
			for i := w; i < len(files) && errs[w] == nil && ctx.Err() == nil; i += len(errs) {
				keys[i], errs[w] = files[i].Key()
			}
		})
	}
	all.Wait()
	for _, err := range append(errs, ctx.Err()) {
		if err != nil {
			return "", err
		}
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%d\n", format, d.encoder.key, len(files))
	for i, f := range files {
		fmt.Fprintf(h, "%q %s\n", f.Name(), keys[i])
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// openTokens makes a document of each row.
func (d *Data) openTokens(ctx context.Context, s *store) error {
	c := d.config.Tokens
	t, err := source.OpenTokens(c.Path, c.Tensor)
	if err != nil {
		return fmt.Errorf("data.tokens: %w", err)
	}
	defer t.Close()
	if t.Steps*t.Batch*t.Time == 0 {
		return fmt.Errorf("data.tokens: %s is empty: tensor %q has the shape [%d, %d, %d]", c.Path, c.Tensor, t.Steps, t.Batch, t.Time)
	}
	h := xxhash.New()
	fmt.Fprintf(h, "%s\n%d %d %d\n", format, t.Steps, t.Batch, t.Time)
	for step := range t.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		fmt.Fprintln(h, t.At(step))
	}
	cache, err := s.get(ctx, fmt.Sprintf("tokens-%016x", h.Sum64()), func(dir string) (*draft, error) {
		x, err := newDraft(dir)
		if err != nil {
			return nil, err
		}
		for step := range t.Steps {
			ids := t.At(step)
			for r := range t.Batch {
				if err := x.add(ids[r*t.Time:(r+1)*t.Time], nil); err != nil {
					return nil, errors.Join(err, x.close())
				}
			}
		}
		return x, nil
	})
	if err != nil {
		return fmt.Errorf("data.tokens: %w", err)
	}
	d.names, d.caches, d.time = []string{c.Path}, []*cached{cache}, t.Time
	return nil
}

// makeStreams shuffles all sources together, or each on its own where they have weights, and holds documents out.
func (d *Data) makeStreams() error {
	corpora := make([]*corpus, len(d.caches))
	for i, c := range d.caches {
		corpora[i] = &c.corpus
	}
	if d.config.weighted() {
		for i := range corpora {
			d.streams = append(d.streams, newStream(d.names[i], corpora[i:i+1], &d.config))
		}
	} else {
		d.streams = append(d.streams, newStream(strings.Join(d.names, ", "), corpora, &d.config))
	}
	if !d.config.MaskPrompt {
		for _, c := range corpora {
			c.hidden = nil
		}
	}
	if err := d.refuseLong(); err != nil {
		return err
	}
	return d.holdOut()
}

// refuseLong finds the first document that is too long, if that is to be an error.
func (d *Data) refuseLong() error {
	if d.config.LongDocuments != Refuse {
		return nil
	}
	for i, c := range d.caches {
		for k := range c.documents() {
			if from, to := c.span(k); to-from > uint64(d.config.MaxDocumentTokens) {
				return fmt.Errorf("data: %s: document %d of those with text has %d tokens, want at most the %d of data.max_document_tokens",
					d.names[i], k, to-from, d.config.MaxDocumentTokens)
			}
		}
	}
	return nil
}

// holdOut splits each stream. A number of documents is shared out by the streams' sizes, at least one each.
func (d *Data) holdOut() error {
	h := d.config.HeldOut
	sizes := make([]float64, len(d.streams))
	var total int
	for i, s := range d.streams {
		if s.count > math.MaxUint32 {
			return fmt.Errorf("data: %s has %d documents, want at most %d", s.name, s.count, math.MaxUint32)
		}
		sizes[i] = float64(s.count)
		total += s.count
		s.shuffled = d.config.Tokens == nil
	}
	shares := make([]int, len(d.streams))
	switch {
	case h == 0:
		return nil
	case h >= 1 && int(h) < len(d.streams):
		return fmt.Errorf("data.held_out is %v, want at least one document for each of the %d sources", h, len(d.streams))
	case h >= 1 && int(h) < total:
		shares = apportion(int(h), sizes)
	case h >= 1:
		return fmt.Errorf("data.held_out is %v of %d documents, want fewer, so that some are left for training", h, total)
	default:
		for i, n := range sizes {
			shares[i] = int(math.Round(h * n))
		}
	}
	for i, s := range d.streams {
		if s.held = shares[i]; s.held < 1 || s.held >= s.count {
			return fmt.Errorf("data.held_out is %v, which is %d of the %d documents of %s: want at least one held out and one left for training",
				h, s.held, s.count, s.name)
		}
		s.split = make([]uint32, s.count)
		for k := range s.split {
			s.split[k] = uint32(k)
		}
		permute(s.split, derive(d.config.Seed, splitKey, uint64(i)))
	}
	return nil
}

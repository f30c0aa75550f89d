package datasets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/gojet/gojet/datasets/source"
)

// Progress of tokenising one source.
type Progress struct {
	Source           string
	Files, AllFiles  int   // read, and in all
	Read, AllRead    int64 // bytes of those files, and in all
	Documents, Empty int
	Tokens           int64
}

func (p Progress) String() string {
	share := 100.0
	if p.AllRead > 0 {
		share = 100 * float64(p.Read) / float64(p.AllRead)
	}
	return fmt.Sprintf("%s: %.0f%%, %d of %d files, %d documents, %d tokens", p.Source, share, p.Files, p.AllFiles, p.Documents, p.Tokens)
}

// Documents are handed to workers in parcels of at least parcelBytes, so that few goroutines meet, and of at most
// parcelDocs.
const (
	parcelBytes = 1 << 18
	parcelDocs  = 1 << 10
)

// parcel is consecutive documents of a source on their way through a worker.
type parcel struct {
	docs  []source.Document
	bytes int
	// read is set by the last parcel of a file: its bytes.
	files int
	read  int64

	encoded []encoded
	err     error
	done    chan struct{}
}

// encoded is the tokens of a document and the borders of the runs of them that are not to be learned.
type encoded struct {
	tokens []int32
	hidden []int
}

func (p *parcel) encode(e *encoder) {
	defer close(p.done)
	p.encoded = make([]encoded, len(p.docs))
	for i, d := range p.docs {
		x, err := e.encode(d)
		if err != nil {
			p.err = fmt.Errorf("data: %s, document %d: %w", d.Path, d.Index, err)
			return
		}
		p.encoded[i] = x
	}
	p.docs = nil
}

// build tokenises the documents of files into d, in their order, with n workers. It holds a few parcels a worker in
// memory, and no more.
func build(ctx context.Context, d *draft, name string, files []source.File, e *encoder, n int, progress func(Progress)) error {
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	order := make(chan *parcel, 2*n)
	work := make(chan *parcel)
	var failed error // of reading; set before order is closed
	all.Go(func() {
		defer close(order)
		defer close(work)
		failed = read(ctx, files, func(p *parcel) error {
			p.done = make(chan struct{})
			for _, to := range []chan *parcel{order, work} {
				select {
				case to <- p:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	for range n {
		all.Go(func() {
			for p := range work {
				p.encode(e)
			}
		})
	}
	state := Progress{Source: name, AllFiles: len(files)}
	for _, f := range files {
		state.AllRead += f.Size
	}
	for p := range order {
		select {
		case <-p.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := d.take(p, &state); err != nil {
			return err
		}
		progress(state)
	}
	return failed
}

// take appends the documents of a parcel.
func (d *draft) take(p *parcel, state *Progress) error {
	if p.err != nil {
		return p.err
	}
	for _, x := range p.encoded {
		if len(x.tokens) == 0 {
			d.facts.Empty++
			continue
		}
		if err := d.add(x.tokens, x.hidden); err != nil {
			return fmt.Errorf("datasets: cache: %w", err)
		}
	}
	d.facts.Bytes += int64(p.bytes)
	state.Files += p.files
	state.Read += p.read
	state.Documents, state.Empty, state.Tokens = d.documents, d.facts.Empty, int64(d.tokens)
	return nil
}

// read sends the documents of all files in parcels. In the end no file may have changed since it was found.
func read(ctx context.Context, files []source.File, send func(*parcel) error) error {
	p := &parcel{}
	for _, f := range files {
		if err := readFile(ctx, f, &p, send); err != nil {
			return err
		}
		p.files++
		p.read += f.Size
	}
	for _, f := range files {
		if err := f.Unchanged(); err != nil {
			return err
		}
	}
	return send(p)
}

func readFile(ctx context.Context, f source.File, p **parcel, send func(*parcel) error) (err error) {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		doc, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		(*p).docs = append((*p).docs, doc)
		(*p).bytes += weigh(doc)
		if (*p).bytes >= parcelBytes || len((*p).docs) >= parcelDocs {
			if err := send(*p); err != nil {
				return err
			}
			*p = &parcel{}
		}
	}
}

// weigh is the size of a document in bytes of text; a token counts as four.
func weigh(d source.Document) int {
	n := len(d.Text) + 4*len(d.Tokens)
	for _, m := range d.Messages {
		n += len(m.Content) + len(m.ToolCalls)
	}
	return n
}

package harness

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/gojet/gojet/evals"
)

// Store keeps the answers to requests in a file, so that a run that was killed goes on where it was. An answer is found by what
// was asked, of which model: whatever else has changed, it is still the answer.
type Store struct {
	model string
	file  *os.File
	out   *bufio.Writer
	have  map[string]answer
}

// answer is one of a likelihood and a text.
type answer struct {
	Key        string            `json:"key"`
	Likelihood *evals.Likelihood `json:"likelihood,omitempty"`
	Text       *string           `json:"text,omitempty"`
}

// OpenStore opens or makes the file. Model stands for all that an answer depends on beside the request: weights, tokenizer,
// precision. A last line that was not finished is dropped.
func OpenStore(path, model string) (s *Store, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("harness: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("harness: %s: %w", path, err), f.Close())
		}
	}()
	s = &Store{model: model, file: f, out: bufio.NewWriter(f), have: map[string]answer{}}
	good, err := s.read(f)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(good); err != nil {
		return nil, err
	}
	_, err = f.Seek(good, io.SeekStart)
	return s, err
}

// read takes the answers that are there and returns how many bytes of the file are good.
func (s *Store) read(f io.Reader) (good int64, err error) {
	in := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return good, nil
		}
		if err != nil {
			return 0, err
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil || a.Key == "" || (a.Likelihood == nil) == (a.Text == nil) {
			return 0, fmt.Errorf("line %d is no answer to a request: remove the file to begin anew", n)
		}
		s.have[a.Key] = a
		good += int64(len(line))
	}
}

// Len is how many answers there are.
func (s *Store) Len() int { return len(s.have) }

func (s *Store) put(a answer) error {
	line, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("harness: %s: %w", s.file.Name(), err)
	}
	s.have[a.Key] = a
	_, err = s.out.Write(append(line, '\n'))
	return err
}

func (s *Store) flush() error { return s.out.Flush() }

// Close writes what is left.
func (s *Store) Close() error { return errors.Join(s.out.Flush(), s.file.Close()) }

// scoredKey and promptedKey hash what was asked: the tokens, or the texts where there are none.
func (s *Store) scoredKey(r evals.Scored) string {
	h := newHash(s.model, "scored")
	h.tokensOr(r.ContextTokens, r.Context)
	h.tokensOr(r.ContinuationTokens, r.Continuation)
	return h.key()
}

func (s *Store) promptedKey(p evals.Prompted) string {
	h := newHash(s.model, "prompted")
	h.tokensOr(p.Tokens, p.Prompt)
	for _, u := range p.Until {
		h.text(u)
	}
	for _, n := range []uint64{uint64(len(p.Until)), uint64(p.MaxTokens), math.Float64bits(p.Temperature), math.Float64bits(p.TopP), uint64(p.TopK), p.Seed} {
		h.number(n)
	}
	return h.key()
}

// hash is of parts whose lengths are hashed too, so that no two requests look alike.
type hash struct{ data []byte }

func newHash(parts ...string) *hash {
	h := &hash{}
	for _, p := range parts {
		h.text(p)
	}
	return h
}

func (h *hash) number(n uint64) { h.data = binary.LittleEndian.AppendUint64(h.data, n) }

func (h *hash) text(s string) {
	h.number(uint64(len(s)))
	h.data = append(h.data, s...)
}

func (h *hash) tokensOr(ids []int32, text string) {
	if ids == nil {
		h.data = append(h.data, 't')
		h.text(text)
		return
	}
	h.data = append(h.data, 'i')
	h.number(uint64(len(ids)))
	for _, id := range ids {
		h.data = binary.LittleEndian.AppendUint32(h.data, uint32(id))
	}
}

func (h *hash) key() string {
	sum := sha256.Sum256(h.data)
	return hex.EncodeToString(sum[:16])
}

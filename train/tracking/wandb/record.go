package wandb

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of W&B's wandb_internal.proto.
const (
	recordNum     = 1
	recordHistory = 2
	recordSummary = 3
	recordConfig  = 5
	recordFiles   = 6
	recordOutput  = 13
	recordRun     = 17
	recordExit    = 18
	recordFinal   = 20
	recordHeader  = 21
	recordFooter  = 22

	itemUpdate  = 1 // of summary and config
	itemKey     = 1
	itemJSON    = 16
	historyItem = 1
	historyStep = 2

	runID      = 1
	runEntity  = 2
	runProject = 3
	runConfig  = 4
	runGroup   = 6
	runJobType = 7
	runName    = 8
	runNotes   = 9
	runTags    = 10
	runHost    = 13
	runStart   = 17
)

// field is one field of a protobuf message.
type field func([]byte) []byte

func message(fields ...field) []byte {
	var b []byte
	for _, f := range fields {
		b = f(b)
	}
	return b
}

func number(n protowire.Number, v int64) field {
	return func(b []byte) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
	}
}

// text leaves out an empty string, as proto3 does.
func text(n protowire.Number, s string) field {
	return func(b []byte) []byte {
		if s == "" {
			return b
		}
		return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
	}
}

func nested(n protowire.Number, fields ...field) field {
	return func(b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), message(fields...))
	}
}

func timestamp(n protowire.Number, t time.Time) field {
	return nested(n, number(1, t.Unix()), number(2, int64(t.Nanosecond())))
}

// entry is a key and its value in JSON.
type entry struct {
	key  string
	json string
}

// entries are the items of a history, summary or config record.
func entries(n protowire.Number, list []entry) []field {
	fields := make([]field, len(list))
	for i, e := range list {
		fields[i] = nested(n, text(itemKey, e.key), text(itemJSON, e.json))
	}
	return fields
}

// eachField calls yield for each field of a message: v is the number of a varint, data what a field of bytes holds.
func eachField(b []byte, yield func(n protowire.Number, v uint64, data []byte) error) error {
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		var v uint64
		var data []byte
		switch kind {
		case protowire.VarintType:
			v, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			data, size = protowire.ConsumeBytes(b)
		default:
			size = protowire.ConsumeFieldValue(n, kind, b)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		if err := yield(n, v, data); err != nil {
			return err
		}
	}
	return nil
}

// written is what the records of a file say about the run.
type written struct {
	num     int64 // of the last record
	step    int   // of the last history record, -1 for none
	runtime float64
	summary summary
	rows    int      // history records
	last    []string // the last of them, as JSON objects
	begun   bool     // a run record was seen
	ended   bool     // an exit record was seen
}

// take reads one record.
func (w *written) take(record []byte) error {
	return eachField(record, func(n protowire.Number, v uint64, data []byte) error {
		switch n {
		case recordNum:
			w.num = int64(v)
		case recordHistory:
			return w.takeRow(data)
		case recordRun:
			w.begun = true
		case recordExit:
			w.ended = true
		}
		return nil
	})
}

func (w *written) takeRow(data []byte) error {
	var row []entry
	err := eachField(data, func(n protowire.Number, _ uint64, data []byte) error {
		if n != historyItem {
			return nil
		}
		e, err := w.takeItem(data)
		row = append(row, e)
		return err
	})
	if err != nil {
		return err
	}
	w.rows++
	if len(w.last) == 2*mostWaiting {
		w.last = append(w.last[:0], w.last[mostWaiting:]...)
	}
	w.last = append(w.last, object(row))
	return nil
}

func (w *written) takeItem(item []byte) (e entry, err error) {
	err = eachField(item, func(n protowire.Number, _ uint64, data []byte) error {
		switch n {
		case itemKey:
			e.key = string(data)
		case itemJSON:
			e.json = string(data)
		}
		return nil
	})
	if err != nil {
		return e, err
	}
	switch e.key {
	case "":
		return e, errors.New("a history item without a key")
	case stepKey:
		err = json.Unmarshal([]byte(e.json), &w.step)
	case runtimeKey:
		err = json.Unmarshal([]byte(e.json), &w.runtime)
	}
	if err != nil {
		return e, fmt.Errorf("history item %s: %w", e.key, err)
	}
	w.summary.set(e)
	return e, nil
}

package launch

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/gojet/gojet/checkpoints/run"
	"github.com/gojet/gojet/checkpoints/safetensors"
	"github.com/gojet/gojet/layers"
	"github.com/gojet/gojet/train"
)

// adaptersFile names, in a checkpoint, the tensors of LoRA adapters beside the model that they belong to.
const adaptersFile = "adapters"

// adapterTensors are the adapters' matrices, by the names that name makes of theirs.
func adapterTensors(net train.Net, name func(string) string) []safetensors.Source {
	var ts []safetensors.Source
	for _, p := range net.Decoder.Params() {
		if layers.IsAdapter(p.Name) {
			ts = append(ts, safetensors.Float32s(name(p.Name), p.Shape, safetensors.F32, safetensors.Values(net.Weights[p.Name].F32)))
		}
	}
	return ts
}

func readAdapters(net train.Net, saved *run.Saved) error {
	f, err := saved.Extra(adaptersFile)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range net.Decoder.Params() {
		if !layers.IsAdapter(p.Name) {
			continue
		}
		t, ok := f.Tensor(p.Name)
		if !ok || !slices.Equal(t.Shape, p.Shape) {
			return fmt.Errorf("%s: tensor %s has shape %v, want %v", f.Path(), p.Name, t.Shape, p.Shape)
		}
		if err := t.ReadFloat32s(net.Weights[p.Name].F32); err != nil {
			return err
		}
	}
	return nil
}

// exportPEFT writes the adapters as the PEFT library does: adapter_config.json and adapter_model.safetensors.
func exportPEFT(dir string, net train.Net, s train.Stage, basePath string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	config, err := json.MarshalIndent(map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": basePath, "r": s.LoRA.Rank, "lora_alpha": s.LoRA.Alpha,
		"target_modules": s.LoRA.Targets, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": false, "inference_mode": true,
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "adapter_config.json"), append(config, '\n'), 0o644); err != nil {
		return err
	}
	tensors := adapterTensors(net, func(name string) string { return "base_model.model." + name })
	return safetensors.Write(filepath.Join(dir, "adapter_model.safetensors"), tensors, map[string]string{"format": "pt"})
}

package suite

import (
	"errors"
	"fmt"
)

// Group is several tasks under one name.
type Group struct {
	Name       string      `yaml:"group"`
	Alias      string      `yaml:"group_alias"`
	Members    Texts       `yaml:"task"`
	Aggregates []Aggregate `yaml:"aggregate_metric_list"`
	Metadata   Options     `yaml:"metadata"`
	Tags       Texts       `yaml:"tag"`
}

// Aggregate says how a group's score comes from its tasks'.
type Aggregate struct {
	Metric       string `yaml:"metric"`
	Aggregation  string `yaml:"aggregation"`
	Filters      Texts  `yaml:"filter_list"`    // all that there are, if none is named
	WeightBySize *bool  `yaml:"weight_by_size"` // true if it is not given
}

// Weighted tells whether tasks count by their documents.
func (a Aggregate) Weighted() bool { return a.WeightBySize == nil || *a.WeightBySize }

// Version is the group's own.
func (g *Group) Version() string {
	if v, ok := g.Metadata["version"]; ok {
		return versionText(v)
	}
	return "N/A"
}

func (g *Group) validate() error {
	if len(g.Members) == 0 {
		return errors.New("task is missing, want a list of tasks, groups or tags")
	}
	for i, a := range g.Aggregates {
		if a.Metric == "" {
			return fmt.Errorf("aggregate_metric_list[%d]: metric is missing", i)
		}
		if a.Aggregation != "" && a.Aggregation != "mean" {
			return fmt.Errorf("aggregate_metric_list[%d]: aggregation is %q, want mean", i, a.Aggregation)
		}
	}
	return nil
}

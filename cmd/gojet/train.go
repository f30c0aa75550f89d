package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/recipes/launch"
	"github.com/gojet/gojet/train"
)

func newTrain() *cobra.Command {
	var resume, dry bool
	c := &cobra.Command{
		Use:   "train RECIPE [KEY=VALUE...]",
		Short: "Train what a recipe says: pre-train, distil, fine-tune",
		Long: `Train what a recipe says: pre-train, distil, fine-tune.

RECIPE is the name of a recipe in the binary (gojet recipes ls) or a file. KEY=VALUE replaces one of its values, such as
stages.distill.steps=100. The run directory, runs/NAME or output=DIR, takes the resolved recipe, metrics.jsonl, the log, a plot of
the losses, checkpoints/step-N in Hugging Face form, and models/NAME for every finished model.
Ctrl-C finishes the step, saves and ends well; a second one ends at once. --resume goes on exactly where that was.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := recipes.Load(args[0], args[1:]...)
			if err != nil {
				return err
			}
			if err := r.Validate(); err != nil {
				return err
			}
			if dry {
				return launch.DryRun(c.Context(), r, c.OutOrStdout())
			}
			err = launch.Run(c.Context(), r, launch.Options{Resume: resume, Console: c.OutOrStdout(), Args: os.Args})
			if errors.Is(err, train.ErrInterrupted) {
				fmt.Fprintf(c.OutOrStdout(), "stopped and saved; go on with: gojet train %s --resume\n", args[0])
				return nil
			}
			return err
		},
	}
	c.Flags().BoolVar(&resume, "resume", false, "go on with the run in the recipe's output directory")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what the run would take, from a few measured steps, and write nothing")
	return c
}

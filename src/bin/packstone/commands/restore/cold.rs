//! Data that must be thawed before it can be restored: what, at what cost, how long; then the order.

use std::path::Path;

use clap::{Args, ValueEnum};
use packstone::backend::{ThawOrder, ThawTier};
use packstone::id::SnapshotId;
use packstone::ops::{self, RestoreFilesOptions};
use packstone::repository::Repository;
use serde_json::json;

use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::counted;
use crate::progress::Status;
use crate::size;

/// How long thawed data stays readable, unless it is said.
const DAYS: u32 = 7;

/// How cold data is asked for.
#[derive(Args, Debug)]
pub struct ThawChoice {
    /// Look for data in a cold class first, and keep what is thawed readable for so many days [default: 7]. With --dry-run,
    /// only say what would be thawed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=365))]
    thaw_days: Option<u32>,
    /// How fast cold data is thawed [default: bulk]
    #[arg(long, value_enum, value_name = "HOW")]
    thaw_tier: Option<Tier>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tier {
    /// The cheapest: up to 12 hours, from DEEP_ARCHIVE 48
    #[value(alias = "Bulk")]
    Bulk,
    /// Up to 5 hours, from DEEP_ARCHIVE 12
    #[value(alias = "Standard")]
    Standard,
    /// Minutes, at a price; not from DEEP_ARCHIVE
    #[value(alias = "Expedited")]
    Expedited,
}

/// What is to be restored.
pub struct Restore<'a> {
    pub repository: &'a Repository,
    pub snapshot: SnapshotId,
    pub target: &'a Path,
    pub options: &'a RestoreFilesOptions,
}

impl ThawChoice {
    /// Whether cold data is to be looked for before anything is read.
    pub fn is_expected(&self, context: &Context) -> bool {
        let class = |option: &String| option.replace('_', "-").starts_with("data-storage-class=");
        self.thaw_days.is_some() || self.thaw_tier.is_some() || context.global.option.iter().any(class)
    }

    /// Says what must be thawed, and asks for it; `None` when everything can be read.
    pub fn plan(&self, context: &Context, restore: &Restore<'_>) -> Result<Option<Code>> {
        let tier = match self.thaw_tier {
            None | Some(Tier::Bulk) => ThawTier::Bulk,
            Some(Tier::Standard) => ThawTier::Standard,
            Some(Tier::Expedited) => ThawTier::Expedited,
        };
        let order = ThawOrder { days: self.thaw_days.unwrap_or(DAYS), tier };
        let dry_run = restore.options.dry_run;
        let progress = context.progress(Status::Lines);
        let plan = context.wait(ops::thaw_for_restore(
            restore.repository,
            restore.snapshot,
            restore.target.to_owned(),
            restore.options.clone(),
            order,
            progress.clone(),
        ));
        progress.finish();
        let plan = plan?;
        if plan.is_readable() && !dry_run {
            return Ok(None);
        }
        let output = &context.output;
        let classes: Vec<&str> = plan.classes.iter().map(String::as_str).collect();
        output.json(&json!({
            "message_type": "thaw",
            "packs": plan.packs,
            "bytes": plan.bytes,
            "frozen_packs": plan.frozen_packs,
            "frozen_bytes": plan.frozen_bytes,
            "underway_packs": plan.underway_packs,
            "classes": classes,
            "tier": tier.name(),
            "days": order.days,
            "cost_dollars": plan.cost_dollars,
            "wait_hours": plan.wait_hours,
            "requested": !dry_run,
        }))?;
        output.line(format!(
            "the restore reads {}, {}: {} of them can be read now, {} are thawing, {} are frozen",
            counted(plan.packs, "pack"),
            size::show(plan.bytes),
            plan.packs - plan.frozen_packs - plan.underway_packs,
            plan.underway_packs,
            plan.frozen_packs,
        ))?;
        if plan.is_readable() {
            return Ok(Some(Code::Ok));
        }
        if plan.frozen_packs > 0 {
            output.line(format!(
                "{} {} from {} ({}), readable for {} days: about ${:.2}",
                if dry_run { "to be thawed:" } else { "asked for" },
                size::show(plan.frozen_bytes),
                classes.join(" and "),
                tier.name(),
                order.days,
                plan.cost_dollars,
            ))?;
        }
        output.line(format!("all of it should be readable within {} hours", plan.wait_hours))?;
        if dry_run {
            return Ok(Some(Code::Ok));
        }
        output.hint("run the same command again then: it restores what is missing");
        Ok(Some(Code::Cold))
    }
}

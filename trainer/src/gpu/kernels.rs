//! Every kernel as a function: grid, block and arguments in one place.

use bytemuck::{Pod, Zeroable};

use super::memory::{Buffer, Card};
use super::{Arg, ElementKind, GpuError, Launch, Operand, Precision, Product};
use crate::ops::Dropout;

const WARP: usize = 32;
/// Rows summed before sums of columns are added up: fixed, so that results do not depend on the card.
const ROWS_PER_BLOCK: usize = 64;
/// Side of an attention tile; as in `attention.cuh`.
pub(crate) const TILE: usize = 32;

/// A dropout site; laid out as the kernels' `Dropout`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub struct DropoutArg {
    stream: u64,
    threshold: u32,
    scale: f32,
}

impl From<Option<Dropout>> for DropoutArg {
    fn from(site: Option<Dropout>) -> Self {
        site.map_or_else(Self::default, |site| {
            let (stream, threshold, scale) = site.raw();
            Self { stream, threshold, scale }
        })
    }
}

/// Shape of attention; laid out as the kernels' `AttentionShape`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct AttentionArg {
    heads: i32,
    hidden: i32,
    scale: f32,
}

/// Constants of the optimiser; laid out as the kernels' `AdamW`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct AdamWArg {
    pub(crate) rate: f32,
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) epsilon: f32,
    pub(crate) decay: f32,
}

/// Scale and shift of a normalisation, f32 addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormAt {
    pub(crate) gamma: u64,
    pub(crate) beta: u64,
}

/// Launches kernels of one element format on one card.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernels<'a> {
    pub(crate) card: &'a std::sync::Arc<Card>,
    pub(crate) precision: Precision,
    pub(crate) epsilon: f32,
}

/// Which tiles attention works on, how the width is cut, and its dropout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    /// Address and number of the tiles.
    pub(crate) tiles: (u64, usize),
    pub(crate) heads: usize,
    pub(crate) hidden: usize,
    pub(crate) site: DropoutArg,
}

impl Heads {
    fn size(&self) -> usize {
        self.hidden / self.heads.max(1)
    }

    fn arg(&self) -> Arg {
        let scale = 1.0 / (self.size() as f32).sqrt();
        Arg::Attention(AttentionArg { heads: self.heads as i32, hidden: self.hidden as i32, scale })
    }
}

/// Rows and columns of an activation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) width: usize,
}

impl Shape {
    fn count(self) -> usize {
        self.rows * self.width
    }
}

fn int(value: usize) -> Arg {
    Arg::I32(i32::try_from(value).unwrap_or(i32::MAX))
}

fn at(buffer: &Buffer) -> Arg {
    Arg::Address(buffer.address())
}

fn blocks(count: usize, each: usize) -> u32 {
    u32::try_from(count.div_ceil(each.max(1))).unwrap_or(u32::MAX)
}

impl Kernels<'_> {
    pub(crate) fn element(&self) -> ElementKind {
        self.precision.element()
    }

    /// An activation of undefined content.
    pub(crate) fn activation(&self, rows: usize, width: usize) -> Result<Buffer, GpuError> {
        self.card.buffer(rows * width * self.element().bytes())
    }

    fn run(
        &self,
        kernel: &str,
        grid: [u32; 3],
        threads: usize,
        shared: usize,
        args: &[Arg],
    ) -> Result<(), GpuError> {
        if grid.contains(&0) {
            return Ok(());
        }
        let (threads, shared) = (threads as u32, shared as u32);
        self.card.compute().launch(&Launch { kernel, grid, threads, shared, args })
    }

    fn typed(&self, kernel: &str) -> String {
        format!("{kernel}_{}", self.element().suffix())
    }

    fn by_rows(&self, kernel: &str, rows: usize, args: &[Arg]) -> Result<(), GpuError> {
        self.run(&self.typed(kernel), [blocks(rows, 8), 1, 1], 8 * WARP, 0, args)
    }

    fn by_elements(&self, kernel: &str, count: usize, args: &[Arg]) -> Result<(), GpuError> {
        self.run(&self.typed(kernel), [blocks(count, 256), 1, 1], 256, 0, args)
    }

    /// `c = op(a)·op(b) + beta·c` over activations and copies.
    pub(crate) fn product(
        &self,
        [m, n, k]: [usize; 3],
        a: Operand,
        b: Operand,
        c: Operand,
        beta: f32,
    ) -> Result<(), GpuError> {
        self.card.compute().multiply(&Product { m, n, k, a, b, c, beta, precision: self.precision })
    }

    /// An operand in compute format.
    pub(crate) fn operand(&self, address: u64) -> Operand {
        Operand { address, kind: self.element(), transposed: false }
    }

    /// Sum of nine tables, normalised and dropped: `out`, and the sum itself.
    #[allow(clippy::too_many_arguments)] // The kernel's own.
    pub(crate) fn embed(
        &self,
        out: &Buffer,
        sum: &Buffer,
        parameters: &Buffer,
        offsets: &Buffer,
        ids: u64,
        norm: NormAt,
        shape: Shape,
        site: DropoutArg,
    ) -> Result<(), GpuError> {
        let args = [
            at(out),
            at(sum),
            at(parameters),
            at(offsets),
            Arg::Address(ids),
            Arg::Address(norm.gamma),
            Arg::Address(norm.beta),
            int(shape.rows),
            int(shape.width),
            Arg::F32(self.epsilon),
            Arg::Dropout(site),
        ];
        self.by_rows("embed", shape.rows, &args)
    }

    /// `x = dropout(x + bias) + residual`, `out = norm(x)`.
    #[allow(clippy::too_many_arguments)] // The kernel's own.
    pub(crate) fn add_norm(
        &self,
        out: &Buffer,
        x: &Buffer,
        bias: u64,
        residual: &Buffer,
        norm: NormAt,
        shape: Shape,
        site: DropoutArg,
    ) -> Result<(), GpuError> {
        let args = [
            at(out),
            at(x),
            Arg::Address(bias),
            at(residual),
            Arg::Address(norm.gamma),
            Arg::Address(norm.beta),
            int(shape.rows),
            int(shape.width),
            Arg::F32(self.epsilon),
            Arg::Dropout(site),
        ];
        self.by_rows("add_norm", shape.rows, &args)
    }

    /// Gradient of a normalisation, in place; adds to the gradients of scale, shift and (where given) of the bias
    /// before it. `dropped` receives the gradient of what entered the `inner` dropout.
    #[allow(clippy::too_many_arguments)] // The kernel's own.
    pub(crate) fn norm_gradient(
        &self,
        gradient: &Buffer,
        dropped: Option<&Buffer>,
        x: &Buffer,
        gamma: u64,
        sums: [u64; 3],
        shape: Shape,
        outer: DropoutArg,
        inner: DropoutArg,
    ) -> Result<(), GpuError> {
        let warps = 8;
        let count = blocks(shape.rows, ROWS_PER_BLOCK);
        let partial = self.card.buffer(count as usize * 3 * shape.width * 4)?;
        let args = [
            at(gradient),
            Arg::Address(dropped.map_or(0, Buffer::address)),
            at(&partial),
            at(x),
            Arg::Address(gamma),
            int(shape.rows),
            int(shape.width),
            int(ROWS_PER_BLOCK),
            Arg::F32(self.epsilon),
            Arg::Dropout(outer),
            Arg::Dropout(inner),
        ];
        let shared = warps * shape.width * 4;
        self.run(&self.typed("norm_gradient"), [count, 1, 1], warps * WARP, shared, &args)?;
        for (plane, target) in sums.into_iter().enumerate().filter(|(_, target)| *target != 0) {
            self.sum_partials(target, &partial, count, [3, plane], shape.width)?;
        }
        Ok(())
    }

    fn sum_partials(
        &self,
        target: u64,
        partial: &Buffer,
        count: u32,
        [planes, plane]: [usize; 2],
        width: usize,
    ) -> Result<(), GpuError> {
        let args = [
            Arg::Address(target),
            at(partial),
            int(count as usize),
            int(planes),
            int(plane),
            int(width),
            Arg::I32(1),
        ];
        self.run("sum_partials", [blocks(width, 128), 1, 1], 128, 0, &args)
    }

    /// Adds the sums of the columns of `x` to `target`.
    pub(crate) fn column_sums(&self, target: u64, x: &Buffer, shape: Shape) -> Result<(), GpuError> {
        let count = blocks(shape.rows, ROWS_PER_BLOCK);
        let partial = self.card.buffer(count as usize * shape.width * 4)?;
        let args = [at(&partial), at(x), int(shape.rows), int(shape.width), int(ROWS_PER_BLOCK)];
        self.run(&self.typed("column_sums"), [count, blocks(shape.width, 128), 1], 128, 0, &args)?;
        self.sum_partials(target, &partial, count, [1, 0], shape.width)
    }

    /// `out = gelu(z + bias)`, `z = gelu'(z + bias)`.
    pub(crate) fn bias_gelu(
        &self,
        out: &Buffer,
        z: &Buffer,
        bias: u64,
        shape: Shape,
    ) -> Result<(), GpuError> {
        let count = shape.count();
        let args = [at(out), at(z), Arg::Address(bias), Arg::U64(count as u64), int(shape.width)];
        self.by_elements("bias_gelu", count, &args)
    }

    /// `x = x ∘ factor`.
    pub(crate) fn multiply(&self, x: &Buffer, factor: &Buffer, shape: Shape) -> Result<(), GpuError> {
        let count = shape.count();
        self.by_elements("multiply", count, &[at(x), at(factor), Arg::U64(count as u64)])
    }

    /// `x = x + bias`.
    pub(crate) fn add_bias(&self, x: &Buffer, bias: u64, shape: Shape) -> Result<(), GpuError> {
        let count = shape.count();
        self.by_elements(
            "add_bias",
            count,
            &[at(x), Arg::Address(bias), Arg::U64(count as u64), int(shape.width)],
        )
    }

    /// Adds a bias to f32 logits.
    pub(crate) fn add_bias_f32(&self, x: &Buffer, bias: u64, shape: Shape) -> Result<(), GpuError> {
        let count = shape.count();
        let args = [at(x), Arg::Address(bias), Arg::U64(count as u64), int(shape.width)];
        self.run("add_bias_f32", [blocks(count, 256), 1, 1], 256, 0, &args)
    }

    /// Drops elements in place; nothing without a site.
    pub(crate) fn dropout(&self, x: &Buffer, shape: Shape, site: DropoutArg) -> Result<(), GpuError> {
        if site.threshold == 0 {
            return Ok(());
        }
        let count = shape.count();
        self.by_elements(
            "dropout",
            count,
            &[at(x), Arg::U64(count as u64), int(shape.width), Arg::Dropout(site)],
        )
    }

    /// Copies f32 to compute format.
    pub(crate) fn cast(&self, to: u64, from: u64, count: usize) -> Result<(), GpuError> {
        self.by_elements("cast", count, &[Arg::Address(to), Arg::Address(from), Arg::U64(count as u64)])
    }

    /// Attention of all tiles; `lse` is kept for the backward pass.
    pub(crate) fn attention(
        &self,
        context: &Buffer,
        lse: &Buffer,
        qkv: &Buffer,
        heads: &Heads,
    ) -> Result<(), GpuError> {
        let size = heads.size();
        let floats = TILE * (TILE + 4) + TILE * (size + 4) + 3 * TILE;
        let elements = 3 * TILE * self.row(size) + TILE * self.row(TILE);
        let args = [
            at(context),
            at(lse),
            at(qkv),
            Arg::Address(heads.tiles.0),
            heads.arg(),
            Arg::Dropout(heads.site),
        ];
        self.by_tiles("attention", heads, floats, elements, &args)
    }

    /// `d_qkv` from `d_context`; `context` and `lse` are the forward pass's.
    #[allow(clippy::too_many_arguments)] // The kernels' own.
    pub(crate) fn attention_gradient(
        &self,
        d_qkv: &Buffer,
        d_context: &Buffer,
        context: &Buffer,
        qkv: &Buffer,
        lse: &Buffer,
        tokens: usize,
        heads: &Heads,
    ) -> Result<(), GpuError> {
        let (size, lines) = (heads.size(), tokens * heads.heads);
        let delta = self.card.buffer(lines * 4)?;
        let args = [at(&delta), at(d_context), at(context), int(lines), int(heads.heads), int(heads.hidden)];
        self.by_rows("attention_delta", lines, &args)?;
        let args = [
            at(d_qkv),
            at(d_context),
            at(qkv),
            at(lse),
            at(&delta),
            Arg::Address(heads.tiles.0),
            heads.arg(),
            Arg::Dropout(heads.site),
        ];
        let (square, rows) = (TILE * (TILE + 4), TILE * (size + 4));
        let (floats, elements) = (2 * square + rows, 4 * TILE * self.row(size) + TILE * self.row(TILE));
        self.by_tiles("attention_gradient_q", heads, floats, elements, &args)?;
        let (floats, elements) =
            (2 * square + 2 * rows, 4 * TILE * self.row(size) + 2 * TILE * self.row(TILE));
        self.by_tiles("attention_gradient_kv", heads, floats, elements, &args)
    }

    /// Elements of a row in shared memory, its padding included.
    fn row(&self, width: usize) -> usize {
        width + 16 / self.element().bytes()
    }

    fn by_tiles(
        &self,
        kernel: &str,
        heads: &Heads,
        floats: usize,
        elements: usize,
        args: &[Arg],
    ) -> Result<(), GpuError> {
        let shared = floats * 4 + elements * self.element().bytes();
        let grid = [blocks(heads.tiles.1, 1), blocks(heads.heads, 1), 1];
        self.run(&format!("{}_{}", self.typed(kernel), heads.size()), grid, 4 * WARP, shared, args)
    }

    /// Loss of each token into `losses` (f64) and the gradient of the logits.
    #[allow(clippy::too_many_arguments)] // The kernel's own.
    pub(crate) fn cross_entropy(
        &self,
        gradient: &Buffer,
        losses: &Buffer,
        logits: &Buffer,
        bias: u64,
        labels: u64,
        weights: Option<&Buffer>,
        loss_scale: u64,
        shape: Shape,
        smoothing: f32,
        scale: f32,
    ) -> Result<(), GpuError> {
        let args = [
            at(gradient),
            at(losses),
            at(logits),
            Arg::Address(bias),
            Arg::Address(labels),
            Arg::Address(weights.map_or(0, Buffer::address)),
            Arg::Address(loss_scale),
            int(shape.rows),
            int(shape.width),
            Arg::F32(smoothing),
            Arg::F32(scale),
        ];
        self.by_rows("cross_entropy", shape.rows, &args)
    }

    /// Adds the scaled divergence of two passes to the losses of their tokens, and its gradient to both gradients.
    #[allow(clippy::too_many_arguments)] // The kernel's own.
    pub(crate) fn divergence(
        &self,
        gradients: [&Buffer; 2],
        losses: &Buffer,
        logits: [&Buffer; 2],
        bias: u64,
        labels: u64,
        loss_scale: u64,
        shape: Shape,
        scale: f32,
    ) -> Result<(), GpuError> {
        let ([gradient_a, gradient_b], [a, b]) = (gradients, logits);
        let args = [
            at(gradient_a),
            at(gradient_b),
            at(losses),
            at(a),
            at(b),
            Arg::Address(bias),
            Arg::Address(labels),
            Arg::Address(loss_scale),
            int(shape.rows),
            int(shape.width),
            Arg::F32(scale),
        ];
        self.by_rows("divergence", shape.rows, &args)
    }

    /// `mean += share · (parameter − mean)` of all parameters that learn.
    pub(crate) fn move_average(
        &self,
        mean: &Buffer,
        parameters: &Buffer,
        stretches: (&Buffer, usize),
        share: f32,
    ) -> Result<(), GpuError> {
        let args = [at(mean), at(parameters), at(stretches.0), Arg::F32(share)];
        self.run("move_average", [blocks(stretches.1, 1), 1, 1], 256, 0, &args)
    }

    /// Exchanges the f32 content of two buffers.
    pub(crate) fn swap(&self, a: &Buffer, b: &Buffer, count: usize) -> Result<(), GpuError> {
        self.run("swap_f32", [blocks(count, 256), 1, 1], 256, 0, &[at(a), at(b), Arg::U64(count as u64)])
    }

    /// Adds the sum of `losses` to the f64 at `sum`.
    pub(crate) fn sum_losses(&self, sum: u64, losses: &Buffer, tokens: usize) -> Result<(), GpuError> {
        self.run("sum_losses", [1, 1, 1], 256, 0, &[Arg::Address(sum), at(losses), int(tokens)])
    }

    /// Adds gradients of embedding rows: `segments` and `rows` as [`super::batch::Reads`] lays them out.
    #[allow(clippy::too_many_arguments)] // The kernels' own.
    pub(crate) fn embed_gradient(
        &self,
        gradients: &Buffer,
        gradient: &Buffer,
        segment_starts: u64,
        tokens: u64,
        segments: usize,
        row_offsets: u64,
        row_segments: u64,
        rows: usize,
        width: usize,
    ) -> Result<(), GpuError> {
        let partial = self.card.buffer(segments * width * 4)?;
        let args =
            [at(&partial), at(gradient), Arg::Address(segment_starts), Arg::Address(tokens), int(width)];
        self.run(&self.typed("embed_segments"), [blocks(segments, 1), 1, 1], 128, 0, &args)?;
        let args =
            [at(gradients), at(&partial), Arg::Address(row_offsets), Arg::Address(row_segments), int(width)];
        self.run("embed_rows", [blocks(rows, 1), 1, 1], 128, 0, &args)
    }

    /// Global norm, clip factor and loss scale into the step's state.
    pub(crate) fn norm(
        &self,
        state: u64,
        gradients: &Buffer,
        stretches: (&Buffer, usize),
        most: f32,
        dynamic: bool,
    ) -> Result<(), GpuError> {
        let partial = self.card.buffer(stretches.1 * 8)?;
        let args = [at(&partial), at(gradients), at(stretches.0)];
        self.run("square_sums", [blocks(stretches.1, 1), 1, 1], 256, 0, &args)?;
        let args = [
            Arg::Address(state),
            at(&partial),
            int(stretches.1),
            Arg::F32(most),
            Arg::I32(i32::from(dynamic)),
        ];
        self.run("finish_norm", [1, 1, 1], 256, 0, &args)
    }

    /// One step of the optimiser over everything; gradients become zero.
    #[allow(clippy::too_many_arguments)] // The kernel's own.
    pub(crate) fn adamw(
        &self,
        parameters: &Buffer,
        copies: u64,
        moments: [&Buffer; 2],
        gradients: &Buffer,
        stretches: (&Buffer, usize),
        state: u64,
        settings: AdamWArg,
    ) -> Result<(), GpuError> {
        let [mean, square] = moments;
        let args = [
            at(parameters),
            Arg::Address(copies),
            at(mean),
            at(square),
            at(gradients),
            at(stretches.0),
            Arg::Address(state),
            Arg::AdamW(settings),
        ];
        self.run(&self.typed("adamw"), [blocks(stretches.1, 1), 1, 1], 256, 0, &args)
    }
}

// Feeds samples from a file to the block, and writes the frames that leave it to another one.
//
//     vvp bench +samples=FILE +count=N +frames=FILE +threshold=N +mask=HEX +stall=N
//
// `samples` has one hexadecimal number a line. With `stall`, the receiver is not ready for N of 64 clocks.

`timescale 1ns / 1ns

module bench;
    localparam MOST = 1 << 20;

    reg [15:0] samples [0:MOST-1];
    reg [8*256-1:0] samples_file, frames_file;
    reg clk = 0, rst = 1, valid = 0;
    reg signed [15:0] sample = 0, threshold = 0;
    reg [63:0] mask = 0;
    integer count = 0, stall = 0, next = 0, file, clocks = 0, idle = 0;

    wire out_valid;
    wire [31:0] out_data;
    wire out_ready = clocks % 64 >= stall;

    zero_suppress block (
        .clk(clk), .rst(rst), .threshold(threshold), .mask(mask), .firmware(32'h00000102),
        .valid(valid), .sample(sample),
        .out_valid(out_valid), .out_data(out_data), .out_ready(out_ready)
    );

    always #5 clk = ~clk;

    initial begin
        if (!$value$plusargs("samples=%s", samples_file) || !$value$plusargs("count=%d", count)
            || !$value$plusargs("frames=%s", frames_file) || !$value$plusargs("threshold=%d", threshold)) begin
            $display("usage: see the beginning of bench.v");
            $finish;
        end
        if (!$value$plusargs("mask=%h", mask)) mask = 0;
        if (!$value$plusargs("stall=%d", stall)) stall = 0;
        $readmemh(samples_file, samples, 0, count - 1);
        file = $fopen(frames_file, "wb");
        repeat (2) @(posedge clk);
        rst <= 0;
    end

    always @(posedge clk) if (!rst) begin
        clocks <= clocks + 1;
        valid <= next < count;
        sample <= samples[next];
        next <= next + 1;
        if (out_valid && out_ready)
            $fwrite(file, "%u", out_data);
        idle <= out_valid || next < count ? 0 : idle + 1;
        if (idle == 256) begin
            $fclose(file);
            $finish;
        end
    end
endmodule

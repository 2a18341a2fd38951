// Zero suppression: of each window of SAMPLES samples, the words that reach the threshold leave as one frame.
//
// A window is collected in one of two banks while the frame of the one before it leaves from the other. A word that
// finds its bank full is counted as kept and not sent (flag 0). A window that ends while the other bank is still
// leaving is lost as a whole: its frame number is not sent, and the next frame says so (flag 1).
//
// The layout of a frame is on the page fpga-format; it leaves in words of 32 bits, lowest byte first.

`timescale 1ns / 1ns

module zero_suppress #(
    parameter SAMPLES = 64,
    parameter ROOM = 16
) (
    input wire clk,
    input wire rst,
    // Registers.
    input wire signed [15:0] threshold,
    input wire [SAMPLES-1:0] mask,
    input wire [31:0] firmware,
    // Samples, one a clock at most.
    input wire valid,
    input wire signed [15:0] sample,
    // Frames.
    output wire out_valid,
    output reg [31:0] out_data,
    input wire out_ready
);
    localparam [31:0] MAGIC = 32'h31465242; // "BRF1"
    localparam HEADER = 9;
    localparam TRAILER = 4;

    reg [31:0] words [0:2*ROOM-1];
    reg bank;
    reg [15:0] channel, filled, kept;
    reg overflow, missed;
    reg [63:0] tick, frame, first;

    // What leaves.
    reg busy;
    reg [15:0] at, send_words, send_kept;
    reg [1:0] send_flags;
    reg [63:0] send_tick, send_frame, send_first;
    reg [31:0] crc;

    wire masked = mask[channel];
    wire over = valid && !masked && sample >= threshold;
    wire last = valid && channel == SAMPLES - 1;
    wire fits = filled < ROOM;
    wire leaves = out_valid && out_ready;
    wire done = leaves && at == HEADER + send_words + TRAILER - 1;

    // CRC-32 of one more word, lowest byte and lowest bit first.
    function [31:0] next_crc(input [31:0] register, input [31:0] data);
        integer bit_at;
        begin
            next_crc = register ^ data;
            for (bit_at = 0; bit_at < 32; bit_at = bit_at + 1)
                next_crc = next_crc[0] ? (next_crc >> 1) ^ 32'hEDB88320 : next_crc >> 1;
        end
    endfunction

    assign out_valid = busy;

    always @* begin
        case (at)
            0: out_data = MAGIC;
            1: out_data = {16'd0, send_words};
            2: out_data = send_frame[31:0];
            3: out_data = send_frame[63:32];
            4: out_data = send_tick[31:0];
            5: out_data = send_tick[63:32];
            6: out_data = send_first[31:0];
            7: out_data = send_first[63:32];
            8: out_data = firmware;
            default:
                if (at < HEADER + send_words)
                    out_data = words[(bank ? 0 : ROOM) + at - HEADER];
                else
                    case (at - HEADER - send_words)
                        0: out_data = {16'd0, send_kept};
                        1: out_data = SAMPLES - send_kept;
                        2: out_data = {30'd0, send_flags};
                        default: out_data = ~crc;
                    endcase
        endcase
    end

    always @(posedge clk) begin
        if (rst) begin
            bank <= 0;
            channel <= 0;
            filled <= 0;
            kept <= 0;
            overflow <= 0;
            missed <= 0;
            tick <= 0;
            frame <= 0;
            first <= 0;
            busy <= 0;
            at <= 0;
            crc <= 32'hFFFFFFFF;
        end else begin
            tick <= tick + 1;
            if (leaves) begin
                at <= at + 1;
                crc <= next_crc(crc, out_data);
                if (done)
                    busy <= 0;
            end
            if (valid) begin
                channel <= channel + 1;
                if (over) begin
                    kept <= kept + 1;
                    if (fits) begin
                        words[(bank ? ROOM : 0) + filled] <= {sample, channel};
                        filled <= filled + 1;
                    end else
                        overflow <= 1;
                end
                if (last) begin
                    channel <= 0;
                    filled <= 0;
                    kept <= 0;
                    overflow <= 0;
                    frame <= frame + 1;
                    first <= first + SAMPLES;
                    if (busy && !done)
                        missed <= 1;
                    else begin
                        missed <= 0;
                        bank <= ~bank;
                        busy <= 1;
                        at <= 0;
                        crc <= 32'hFFFFFFFF;
                        send_words <= filled + (over && fits);
                        send_kept <= kept + over;
                        send_flags <= {missed, overflow || (over && !fits)};
                        send_tick <= tick;
                        send_frame <= frame;
                        send_first <= first;
                    end
                end
            end
        end
    end
endmodule
